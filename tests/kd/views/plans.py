"""Plans of views: any at all, and one that does everything."""

from hypothesis import strategies as st

from kd.views.plan import ViewPlan

ANY_PLANS = st.builds(
    ViewPlan,
    st.integers(0, 3),
    st.booleans(),
    st.integers(0, 2**63 - 1),
    strong=st.integers(0, 3),
    magnitude=st.integers(0, 30),
    mixup=st.sampled_from([0.0, 0.2]),
    cutmix=st.sampled_from([0.0, 1.0]),
    paired=st.booleans(),
)
EVERYTHING = ViewPlan(2, True, strong=2, mixup=0.2, cutmix=1.0)
