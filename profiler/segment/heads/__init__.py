"""Ways to say where nuclei are: targets, losses and a decoder each, behind one contract."""

from profiler.segment.heads.boundary import BOUNDARY
from profiler.segment.heads.boxes import BOXES
from profiler.segment.heads.embedding import EMBEDDING
from profiler.segment.heads.flows import FLOWS
from profiler.segment.heads.semantic import SEMANTIC
from profiler.segment.heads.stars import STARS
from profiler.segment.heads.watershed import WATERSHED

HEADS = {
    head.name: head for head in (WATERSHED, BOUNDARY, STARS, FLOWS, EMBEDDING, BOXES, SEMANTIC)
}
