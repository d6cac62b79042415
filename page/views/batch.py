"""批量预测: a table of titles or pasted lines, predicted in the background; what comes of it stands above them."""

import streamlit as st

from page.batch import Batch
from page.client import Api, plain
from page.progress import show_run
from page.results import show_result
from page.served import TITLES, model_for_titles, models_of
from page.titles import Given, ask_titles


def start(api: Api, given: Given) -> None:
    health = api.health()
    if "error" in health:
        st.error(f"没有开始。{plain(health['error'])}")
        return
    model, labels = health["model"], health["labels"]
    if other := model_for_titles():
        model, labels = other, models_of(TITLES)[other]["labels"]
    if old := st.session_state.get("batch"):
        old.run.stop()
    st.session_state.batch = Batch.start(api.predict_list, given, model, labels)
    st.rerun()


def main() -> None:
    st.set_page_config(layout="wide")
    st.title("批量预测")
    batch: Batch | None = st.session_state.get("batch")
    running = batch is not None and batch.run.running
    if batch:
        show_run(batch.run, running, "batch")
        if not running and batch.run.done:
            show_result(batch)
        st.divider()
        st.subheader("预测别的标题")
    given = ask_titles("batch")
    if st.button("开始预测", type="primary", disabled=given is None or running, key="batch_start") and given:
        start(st.session_state.api, given)


if __name__ == "__main__":
    main()
