"""The views of the page, which app.py hands to Streamlit by their paths."""
