"""A run over many titles as the page shows it: how far it is, a stop button, what ended it."""

import streamlit as st

from page.client import plain
from page.run import BatchRun


def show_run(run: BatchRun, running: bool, key: str) -> None:
    """Show how a run is doing, and let it be stopped or set going again.

    Args:
        run: the run.
        running: whether it was when this run of the page began; if it ends meanwhile, the page runs again.
        key: sets the buttons of one page apart from those of another.
    """
    if running:
        _show_progress(run, key)
        return
    if run.halted:
        st.error(f"中途停下了。{plain(run.halted)}")
    if run.unanswered:
        st.info(f"完成 {run.total - run.unanswered:,} / {run.total:,}，还有 {run.unanswered:,} 没有结果。")
        if st.button("继续", key=f"{key}_continue", icon=":material/play_arrow:"):
            run.ask = st.session_state.api.predict_list  # the address or the key may have been put right
            run.start()
            st.rerun()


@st.fragment(run_every=1.0)
def _show_progress(run: BatchRun, key: str) -> None:
    """Runs again every second, by itself; the thread of the run goes on meanwhile."""
    run.touch()
    if not run.running:
        st.rerun()
    done = run.done
    left = "" if run.seconds_left is None else f"，约剩 {duration(run.seconds_left)}"
    st.progress(done / run.total, f"{done:,} / {run.total:,}{left}")
    if run.trouble:
        st.warning(f"正在重试。{plain(run.trouble)}")
    if st.button("停止", key=f"{key}_stop", icon=":material/stop:"):
        run.stop()
        st.rerun()


def duration(seconds: float) -> str:
    """In words: 50 秒, 3 分 20 秒, 1 小时 5 分."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{rest} 秒"
    return f"{minutes} 分 {rest} 秒" if minutes < 60 else f"{minutes // 60} 小时 {minutes % 60} 分"
