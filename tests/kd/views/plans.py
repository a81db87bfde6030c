"""Plans of views: any at all, and some that do everything."""

from hypothesis import strategies as st

from kd.views.boxes import Boxes
from kd.views.plan import ViewPlan

MORE = {
    "strong": st.integers(0, 3),
    "magnitude": st.integers(0, 30),
    "mixup": st.sampled_from([0.0, 0.2]),
    "cutmix": st.sampled_from([0.0, 1.0]),
    "paired": st.booleans(),
}
SEEDS = st.integers(0, 2**63 - 1)
USUAL = Boxes((0.08, 1.0), (3 / 4, 4 / 3))
PADDED_PLANS = st.builds(ViewPlan, st.integers(0, 3), st.booleans(), SEEDS, **MORE)
BOXED_PLANS = st.builds(
    ViewPlan,
    st.just(0),
    st.booleans(),
    SEEDS,
    resized_crop=st.sampled_from([None, USUAL, Boxes((0.5, 0.6), (1.0, 1.0))]),
    input_size=st.sampled_from([(5, 5), (8, 8), (11, 9)]),
    **MORE,
)
ANY_PLANS = PADDED_PLANS | BOXED_PLANS
EVERYTHING = ViewPlan(2, True, strong=2, mixup=0.2, cutmix=1.0)
EVERYTHING_BOXED = ViewPlan(0, True, strong=2, mixup=0.2, cutmix=1.0, resized_crop=USUAL)
SMALLER = ViewPlan(0, True, strong=1, resized_crop=USUAL, input_size=(6, 6))
