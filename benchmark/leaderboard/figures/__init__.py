"""Records -> the figures of the page, each an SVG that needs nothing beside itself."""

from benchmark.leaderboard.figures.collection import Figure, figures, left_out

__all__ = ["Figure", "figures", "left_out"]
