"""Text into token ids, without torch."""
