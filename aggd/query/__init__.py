"""Windows of frames to statistics, without a clock."""
