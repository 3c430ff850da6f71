"""Every row of the operator's page as the project reads it, and the test that shows it.

Rows are numbered as there: 1 to 71 sentences, 72 to 107 the statuses in their order, 108 to 114
trusted execution. A row that concerns another deliverable, or that nothing shows yet, says so.
"""

from __future__ import annotations

from typing import Final

_W, _E, _X = "worker/test_worker_", "e2e/test_", "execution/test_"
_O, _R = "e2e/test_status_causes.py", "e2e/test_rare_statuses.py"
_S, _C, _P = "scheduler/test_scheduler_", "cli/test_cli_", "e2e/test_worker_preflight.py"
_ELSEWHERE: Final = {
    **dict.fromkeys((7,), "the directory of pools is a page of the scheduler's deliverable"),
    **dict.fromkeys((13, 14, 15, 20, 21, 22, 23, 29, 30), "the virtual machine image"),
    **dict.fromkeys((25, 32, 33, 35), "the desktop and launcher of the machine image"),
    **dict.fromkeys((18, 44), "pages of the documentation, checked where they are built"),
    **dict.fromkeys((59, 60, 61), "the join script and its button on the dashboard"),
    **dict.fromkeys((9,), "one check for each way to start, in the continuous integration"),
    **dict.fromkeys((65,), "the dashboard shows prices; the worker's own are row 64"),
    **dict.fromkeys((46,), "the label of the container image, where it is built"),
    **dict.fromkeys((58,), "other systems than Linux cannot be shown on this machine"),
    **dict.fromkeys((111, 112), "text of the documentation; drivers are row 110"),
    **dict.fromkeys((114,), "needs a scheduler that offers enclaves, and hardware"),
}
"""Rows that do not concern the worker program, and why."""

ROWS: Final[dict[int, tuple[str, ...]]] = {
    1: (f"{_E}market.py::test_a_task_at_trust_1_is_computed_and_paid",),
    2: (f"{_E}newcomer.py::test_the_first_start_pays_a_task_and_says_what_it_took",),
    3: (f"{_E}liar.py::test_the_first_of_five_lies_and_loses_its_stake",),
    4: (f"{_P}::test_no_gas_says_which_wallet_to_refill_and_with_how_much",),
    5: (f"{_P}::test_rlc_in_the_wallet_is_no_deposit",),
    6: (f"{_W}settings.py::test_slots",),
    8: (
        f"{_P}::test_a_good_machine_and_every_line",
        f"{_P}::test_what_fails_hides_nothing_else",
    ),
    10: ("worker/test_preflight.py::test_docker_is_warned_of_as_the_manual_does",),
    11: (f"{_X}sandbox_plan.py::test_docker_is_told_everything",),
    12: (
        f"{_X}sandbox_limits.py::test_hostile_output_is_taken_over_as_it_is",
        f"{_X}sandbox_limits.py::test_a_fork_bomb_is_held_and_ended",
        f"{_X}sandbox_limits.py::test_an_endless_job_is_ended_with_all_its_children",
    ),
    16: (
        f"{_C}wallet.py::test_a_new_wallet_is_kept_where_the_official_client_keeps_it",
        f"{_C}wallet.py::test_a_key_is_imported_from_stdin_and_appears_nowhere",
    ),
    17: ("chain/test_chain_wallet.py::test_a_key_is_never_overwritten",),
    19: (f"{_C}market.py::test_money_moves_between_wallet_and_account",),
    24: (f"{_P}::test_an_editors_marks_and_line_ends_do_no_harm",),
    26: (f"{_P}::test_all_set_is_said_after_registration_only",),
    27: (f"{_E}market.py::test_a_task_at_trust_1_is_computed_and_paid",),
    28: (
        f"{_E}stopping.py::test_stop_hands_back_and_another_worker_goes_on_at_once",
        f"{_E}stopping.py::test_drain_finishes_everything_and_ends",
    ),
    31: (f"{_C}wallet.py::test_what_is_no_key_is_refused_without_repeating_it",),
    34: (f"{_C}wallet.py::test_a_key_is_imported_from_stdin_and_appears_nowhere",),
    36: (
        f"{_E}ways_to_start.py::test_without_a_terminal",
        f"{_C}wallet.py::test_without_a_terminal_nobody_is_asked",
    ),
    37: (f"{_E}ways_to_start.py::test_under_a_host_name_that_nobody_knows",),
    38: (f"{_S}routes.py::test_the_page_escapes_what_workers_say",),
    39: (f"{_W}settings.py::test_the_typing_mistake_of_the_manual_works_and_is_named",),
    40: (f"{_W}settings.py::test_the_address_out_of_its_parts",),
    41: (f"{_P}::test_a_wallet_file_in_every_bad_state",),
    42: (
        f"{_W}settings.py::test_nothing_shows_a_secret",
        f"{_W}settings.py::test_no_child_sees_a_secret_and_neither_does_proc",
        f"{_W}settings.py::test_the_password_in_a_file",
    ),
    43: (f"{_P}::test_a_wallet_file_in_every_bad_state",),
    45: (f"{_P}::test_no_runtime_ends_with_7",),
    47: (f"{_P}::test_a_pool_that_asks_for_another_version",),
    48: (f"{_W}settings.py::test_every_value_of_the_manual_can_be_another",),
    49: (f"{_W}settings.py::test_two_workers_of_one_base_folder_have_folders_of_their_own",),
    50: (
        "chain/test_chain_fees.py::"
        "test_the_price_is_the_networks_times_the_multiplier_up_to_the_cap",
    ),
    51: (f"{_W}settings.py::test_caps", f"{_W}settings.py::test_no_cap"),
    52: (
        f"{_E}ways_to_start.py::test_the_node_is_the_pools_unless_the_operator_names_another",
    ),
    53: ("worker/test_preflight.py::test_folders_that_the_runtime_does_not_share",),
    54: (f"{_P}::test_a_wallet_file_in_every_bad_state",),
    55: (f"{_E}crashes.py::test_a_task_outlives_the_death_of_anybody",),
    56: (f"{_P}::test_no_runtime_ends_with_7",),
    57: (f"{_X}pulls.py::test_what_is_for_another_processor_is_not_begun",),
    62: (
        f"{_E}wallets.py::test_two_workers_cannot_have_one_wallet",
        f"{_S}instances.py::test_a_second_worker_with_the_wallet_of_one_that_runs",
        f"{_W}exclusive.py::test_two_processes_cannot_hold_one_wallet",
    ),
    63: (f"{_C}fleet.py::test_wallets_that_are_there_are_used_first_and_the_rest_is_made",),
    64: ("chain/test_chain_sender.py::test_prices_follow_the_network_up_to_the_cap",),
    66: (
        "chain/test_chain_fees.py::"
        "test_the_price_is_the_networks_times_the_multiplier_up_to_the_cap",
    ),
    67: (
        "chain/test_chain_sender.py::test_the_cap_is_never_exceeded",
        "chain/test_chain_fees.py::test_what_waits_for_a_cheaper_chain_can_be_seen",
    ),
    68: (f"{_E}market.py::test_at_trust_5_three_new_workers_agree_and_share",),
    69: (f"{_S}hostile.py::test_the_same_worker_is_not_assigned_twice",),
    70: (
        "lifecycle/test_views.py::test_both_histories_of_any_life_are_walks",
        "lifecycle/test_views.py::test_from_every_state_to_the_next_there_is_a_way",
    ),
    71: (
        "lifecycle/test_views.py::test_the_happy_path_reads_as_everyone_knows_it",
        f"{_W}session.py::test_every_fact_of_ours_is_told_in_order_and_the_chains_are_not",
    ),
    108: (f"{_S}routes.py::test_slots_replicates_and_enclaves",),
    109: ("worker/test_preflight.py::test_trusted_execution",),
    110: ("worker/test_preflight.py::test_trusted_execution",),
    113: (
        f"{_W}session.py::test_no_worker_registers_for_trusted_execution",
        "worker/test_preflight.py::"
        "test_trusted_hardware_does_not_make_a_worker_for_trusted_tasks",
    ),
}
"""Rows of the worker program; a test is named by its file below `tests` and its function."""

_LIFE = (f"{_E}market.py::test_a_task_at_trust_1_is_computed_and_paid",)
_CANT = "CANT_CONTRIBUTE_SINCE_"
STATUSES: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(
        (
            *("CREATED", "RUNNING", "STARTING", "STARTED", "APP_DOWNLOADING", "APP_DOWNLOADED"),
            *("DATA_DOWNLOADING", "DATA_DOWNLOADED", "COMPUTING", "COMPUTED", "CONTRIBUTED"),
            *("REVEALING", "REVEALED", "RESULT_UPLOAD_REQUESTED", "RESULT_UPLOADING"),
            *("RESULT_UPLOADED", "COMPLETING", "COMPLETED"),
        ),
        _LIFE,
    ),
    "START_FAILED": (f"{_R}::test_a_deposit_withdrawn_before_anything_has_begun",),
    "APP_DOWNLOAD_FAILED": (f"{_O}::test_an_image_that_its_registry_does_not_have",),
    "DATA_DOWNLOAD_FAILED": (
        f"{_O}::test_an_input_that_its_server_does_not_have",
        f"{_E}data.py::test_a_dataset_that_changed_is_not_computed_on",
    ),
    "COMPUTE_FAILED": (
        f"{_O}::test_an_app_that_leaves_nothing",
        f"{_E}market.py::test_an_app_that_never_ends_is_stopped_and_not_paid",
    ),
    "CAN_CONTRIBUTE": (f"{_W}statuses.py::test_a_vote_that_counts_can_be_cast",),
    f"{_CANT}STAKE_TOO_LOW": (f"{_O}::test_a_deposit_withdrawn_before_the_vote",),
    f"{_CANT}TASK_NOT_ACTIVE": (
        f"{_R}::test_a_task_that_others_decided_while_this_one_computed",
    ),
    f"{_CANT}AFTER_DEADLINE": (f"{_R}::test_a_deadline_that_passes_while_this_one_computed",),
    f"{_CANT}CONTRIBUTION_ALREADY_SET": (
        f"{_R}::test_a_vote_of_the_same_wallet_by_another_program",
    ),
    f"{_CANT}DETERMINISM_HASH_NOT_FOUND": (
        f"{_O}::test_an_app_that_leaves_nothing",
        f"{_W}statuses.py::test_without_a_digest_nothing_is_contributed",
    ),
    f"{_CANT}CHAIN_UNREACHABLE": (
        f"{_R}::test_no_node_answers_before_the_vote",
        f"{_W}votes.py::test_a_chain_that_does_not_answer_is_waited_for_but_not_for_ever",
    ),
    "CONTRIBUTING": (f"{_W}statuses.py::test_a_vote_that_counts_can_be_cast",),
    "CONTRIBUTE_FAILED": (
        f"{_O}::test_a_deposit_withdrawn_before_the_vote",
        f"{_W}statuses.py::test_a_wallet_drained_before_and_after_the_check",
    ),
    **dict.fromkeys(
        ("CANT_REVEAL", "REVEAL_FAILED"),
        (f"{_R}::test_the_winning_vote_of_the_same_wallet_is_not_ours",),
    ),
    "COMPLETE_FAILED": (f"{_R}::test_a_folder_that_cannot_be_removed",),
    "OUT_OF_GAS": (
        f"{_O}::test_a_wallet_that_is_empty_when_its_vote_is_due",
        f"{_W}statuses.py::test_a_wallet_drained_before_and_after_the_check",
        f"{_W}statuses.py::"
        "test_a_wallet_drained_before_the_reveal_is_out_of_gas_until_refilled",
    ),
    "RESULT_UPLOAD_REQUEST_FAILED": (
        f"{_O}::test_a_winner_that_is_stopped_does_not_begin_its_upload",
    ),
    "RESULT_UPLOAD_FAILED": (f"{_O}::test_a_result_store_that_only_answers_500",),
    "REVEAL_TIMEOUT": (f"{_O}::test_a_worker_that_is_stopped_after_its_vote_reveals_too_late",),
    "FAILED": (f"{_O}::test_a_worker_that_is_stopped_after_its_vote_reveals_too_late",),
    "WORKER_LOST": (f"{_O}::test_a_worker_that_is_stopped_is_lost_and_another_decides",),
    "RECOVERING": (f"{_O}::test_a_worker_that_is_killed_and_started_anew_recovers",),
    "ABORTED": (f"{_O}::test_a_vote_that_too_few_others_join",),
    "ABORTED_ON_CONSENSUS_REACHED": (
        f"{_O}::test_a_worker_that_is_stopped_is_lost_and_another_decides",
    ),
    "ABORTED_ON_CONTRIBUTION_TIMEOUT": (f"{_O}::test_a_vote_that_too_few_others_join",),
    "CONTRIBUTE_AND_FINALIZE_ONGOING": (
        f"{_E}contribute_and_finalize.py::"
        "test_a_worker_that_votes_in_the_classic_way_in_the_same_pool",
    ),
    "CONTRIBUTE_AND_FINALIZE_FAILED": (
        f"{_W}finish.py::test_a_wallet_that_cannot_pay",
        f"{_W}finish.py::test_a_vote_that_waits_for_others_leaves_no_room",
        f"{_W}finish.py::test_no_single_vote_decides_at_a_higher_trust",
    ),
    "CONTRIBUTE_AND_FINALIZE_DONE": (
        f"{_E}contribute_and_finalize.py::"
        "test_a_worker_that_votes_in_the_classic_way_in_the_same_pool",
    ),
}
"""Names of either vocabulary, and what reaches them by their cause."""

NOT_REACHED: Final = {
    f"{_CANT}TEE_EXECUTION_NOT_VERIFIED": "takes a task for an enclave: the scheduler gives"
    " none to a worker that has no enclave, and our worker, which never has one, refuses an"
    " authorization that names one before it has a replicate that could have a status",
}
"""Names that only views have so far, and why."""

ELSEWHERE: Final = _ELSEWHERE
