"""What tasks are told of values that are to be stored apart."""

from wingbeat_controlplane.roles.propeller import offload_variables
from wingbeat_controlplane.settings import PropellerSettings


def test_tasks_are_told_from_which_size_on_and_up_to_which() -> None:
    """Flyte's sizes by default; nothing when it is switched off."""
    assert offload_variables(PropellerSettings()) == {"_F_L_MIN_SIZE_MB": "10", "_F_L_MAX_SIZE_MB": "1000"}
    changed = PropellerSettings(offload_min_mib=1, offload_max_mib=5)
    assert offload_variables(changed) == {"_F_L_MIN_SIZE_MB": "1", "_F_L_MAX_SIZE_MB": "5"}
    assert offload_variables(PropellerSettings(offload_min_mib=0)) == {}
