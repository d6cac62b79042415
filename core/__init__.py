"""The parts that the scripts in the root share. Nothing here imports the root."""
