"""The web page: type a news title, or give many, and see their classes. It asks a running api.py and knows only HTTP.

Where the API serves other tasks, it has their views: entities in a text, aspects of reviews, answers from a passage.

Start `python api.py` in another terminal, then:

    streamlit run app.py

The environment variable NEWS_API_URL is the server's address, http://127.0.0.1:8004 where it is not set; NEWS_API_KEY
is its key, where it asks for one. A page that others can open (--server.address 0.0.0.0) asks that server alone, unless
.streamlit/secrets.toml says `choose_address = true`. The views are in page/views/.
"""

import os
import sys

import streamlit as st

from page import served
from page.client import ADDRESS, LOOPBACK, Api, plain

VIEWS = {
    "page/views/single.py": ("单条预测", ":material/edit:", served.TITLES),
    "page/views/batch.py": ("批量预测", ":material/table_rows:", served.TITLES),
    "page/views/compare.py": ("模型对比", ":material/balance:", served.TITLES),
    "page/views/entities.py": ("实体识别", ":material/label:", served.ENTITIES),
    "page/views/aspects.py": ("方面情感", ":material/reviews:", served.ASPECTS),
    "page/views/questions.py": ("阅读理解", ":material/quiz:", served.QUESTIONS),
    "page/views/models.py": ("模型信息", ":material/info:", None),  # of any task
}


@st.fragment(run_every="10s")
def show_status(api: Api) -> None:
    health = api.health()
    if served.has_changed(health):
        st.rerun()
    if "error" in health:
        st.error(f"未连接。{plain(health['error'])}")
    else:
        tasks = {model["name"]: served.task_of(model) for model in served.look(api)}
        of_titles = tasks.get(health["model"], served.TITLES) == served.TITLES
        classes = f"，{len(health['labels'])} 个类别" if of_titles else ""
        st.success(f"已连接：模型 {plain(health['model'])}{classes}")


def may_choose() -> bool:
    """Whether visitors may name the API's address: on this machine alone, or where secrets.toml says choose_address."""
    if st.get_option("server.address") in LOOPBACK:
        return True
    try:
        return bool(st.secrets.get("choose_address", False))
    except FileNotFoundError:
        return False


def ask_address() -> Api:
    own = os.environ.get("NEWS_API_URL") or ADDRESS
    url = st.text_input("API 地址", own, key="url") if may_choose() else own
    typed = st.text_input("API 密钥", type="password", key="key", help="启动 api.py 时设了 NEWS_API_KEY 才需要")
    # The environment's key is for the environment's server: not for any address that a visitor types.
    key = typed.strip() or (os.environ.get("NEWS_API_KEY", "").strip() if url == own else "")
    return Api(url.strip(), key)


def main() -> None:
    st.set_page_config(page_icon="📰")
    with st.sidebar:
        st.session_state.api = ask_address()
    tasks = {served.task_of(model) for model in served.look(st.session_state.api)} or {served.TITLES}
    views = {path: view for path, view in VIEWS.items() if view[-1] in (None, *tasks)}
    page = st.navigation([st.Page(path, title=title, icon=icon) for path, (title, icon, _) in views.items()])
    if trouble := served.trouble():  # a phone folds the sidebar away
        st.warning(f"未连接。{plain(trouble)}")
    page.run()
    with st.sidebar:  # last, so that a slow server does not hold up the page
        show_status(st.session_state.api)


if __name__ == "__main__":
    if not st.runtime.exists():
        sys.exit("error: the page runs inside Streamlit: start it with `streamlit run app.py`")
    main()
