"""A window on the screen, through SDL (package pygame-ce, extra `track`)."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from svf_edge.errors import MissingPackage, SvfError


class Window:
    """Shows frames in their own size, or smaller where the screen is. Use it in the main thread."""

    def __init__(self, title: str) -> None:
        """Raises `MissingPackage` without pygame and `SvfError` without a screen."""
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        try:
            import pygame
        except ModuleNotFoundError as error:
            raise MissingPackage("pygame-ce", "track") from error
        self._pygame = pygame
        try:
            pygame.display.init()
            desktop = pygame.display.get_desktop_sizes()[0]
        except pygame.error as error:
            raise SvfError(f"no screen to open a window on ({error}); add --headless, --save or --serve") from error
        pygame.display.set_caption(title)
        self._largest = (0.9 * desktop[0], 0.85 * desktop[1])
        self._size = (0, 0)

    def show(self, pixels: NDArray[np.uint8]) -> bool:
        """Show RGB uint8 `[H, W, 3]`; False once the user has closed the window or pressed q or Escape."""
        pygame = self._pygame
        height, width = pixels.shape[:2]
        scale = min(1.0, self._largest[0] / width, self._largest[1] / height)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        if size != self._size:
            pygame.display.set_mode(size)
            self._size = size
        picture = pygame.image.frombuffer(np.ascontiguousarray(pixels), (width, height), "RGB")
        if scale < 1:
            picture = pygame.transform.smoothscale(picture, size)
        pygame.display.get_surface().blit(picture, (0, 0))
        pygame.display.flip()
        return not any(
            event.type == pygame.QUIT or (event.type == pygame.KEYDOWN and event.key in (pygame.K_q, pygame.K_ESCAPE))
            for event in pygame.event.get()
        )

    def close(self) -> None:
        """Close the window."""
        self._pygame.display.quit()
