"""The bundled persona: what `vultus demo` copies into a workspace.

Thirty-six good pictures of one stand-in persona, and the faults a real folder has: two exact copies, three edits, two
crops, four strangers, two blurred frames, glasses in four pictures, two captions that lie.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from vultus.core.files import write_text
from vultus.standin.personas import Diseases, write_persona_folder

__all__ = ["DEMO_PERSONA", "DISEASES", "PERSONA_TOML", "VULTUS_TOML", "write_demo"]

DEMO_PERSONA: Final = 5
DISEASES: Final = Diseases(
    exact=2, edited=3, cropped=2, strangers=4, blurred=2, with_glasses=4, wrong_captions=2
)

PERSONA_TOML: Final = """# Who the pictures show. Without a declared origin and age nothing is trained.
name = "Ada"
trigger = "ohwx"
class_words = "woman"
provenance = "synthetic"
adult = true
"""

VULTUS_TOML: Final = """# The demo's plan: the same keys as for a real SDXL run, only sizes differ.
bases = ["standin/plain", "standin/soft", "standin/ink"]
face_pack = "standin"

[train]
rank = 16
alpha = 16.0
conv_rank = 16
steps = 900
batch = 8
learning_rate = 0.003
schedule = "cosine"
warmup_steps = 20
weighting = "min_snr"
face_weight = 3.0
caption_dropout = 0.1
checkpoints = 4

[render]
scheduler = "dpmpp_2m_karras"
steps = 10
guidance = 3.0
width_px = 128
height_px = 128

[sweep]
strengths = [0.0, 0.6, 1.0, 1.4, 1.8]

[panel]
seeds = [11]

[panel.prompts]
close_up = [
    "close-up photo of {persona}, smiling, looking ahead, red striped shirt, garden background, soft light",
    "close-up photo of {persona}, neutral, looking left, blue plain shirt, studio background, right light",
    "close-up photo of {persona}, surprised, looking right, grey checked shirt, city background, warm light",
    "close-up photo of {persona}, stern, looking ahead, black plain shirt, library background, soft light",
]
half_body = [
    "half body photo of {persona}, smiling, looking right, yellow dotted shirt, beach background, warm light",
    "half body photo of {persona}, neutral, looking ahead, green plain shirt, room background, soft light",
    "half body photo of {persona}, stern, looking left, purple striped shirt, night background, left light",
    "half body photo of {persona}, surprised, looking ahead, white plain shirt, garden background, soft light",
]
full_body = [
    "full body photo of {persona}, neutral, looking ahead, teal plain shirt, city background, soft light",
    "full body photo of {persona}, smiling, looking left, orange dotted shirt, garden background, soft light",
    "full body photo of {persona}, stern, looking right, blue checked shirt, beach background, warm light",
    "full body photo of {persona}, smiling, looking ahead, red plain shirt, room background, soft light",
]

[confirm]
seeds = [21, 22, 23]

[confirm.prompts]
close_up = [
    "close-up photo of {persona}, neutral, looking ahead, teal dotted shirt, beach background, soft light",
    "close-up photo of {persona}, smiling, looking left, white plain shirt, room background, warm light",
    "close-up photo of {persona}, surprised, looking ahead, green striped shirt, studio background, left light",
    "close-up photo of {persona}, stern, looking right, orange plain shirt, garden background, soft light",
]
half_body = [
    "half body photo of {persona}, smiling, looking ahead, blue striped shirt, city background, soft light",
    "half body photo of {persona}, neutral, looking right, red dotted shirt, library background, warm light",
]
full_body = [
    "full body photo of {persona}, smiling, looking ahead, purple plain shirt, studio background, soft light",
    "full body photo of {persona}, neutral, looking left, grey striped shirt, beach background, soft light",
]
"""


def write_demo(folder: Path) -> None:
    """Write persona.toml, vultus.toml and the pictures."""
    if folder.exists():
        shutil.rmtree(folder)
    write_persona_folder(folder / "pictures", DEMO_PERSONA, good=36, sick=DISEASES)
    write_text(folder / "persona.toml", PERSONA_TOML)
    write_text(folder / "vultus.toml", VULTUS_TOML)
