//! What does the chat get from its store? One story, told on SQLite and on a real PostgreSQL.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that can't go on fails, also in the functions that tests share"
)]

mod crashes;
mod files;
mod flat;
mod items;
mod long;
mod made;
mod outages;
mod owners;
mod place;
#[path = "../support/postgres.rs"]
mod postgres;
mod revocations;
mod setup;
mod texts;
mod threads;
mod turns;

/// Each of these tests holds for both databases.
macro_rules! story {
    ($($chapter:ident::$test:ident,)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$chapter::$test(&crate::place::Place::sqlite()).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$chapter::$test(&crate::place::Place::postgres().await).await;
            })*
        }
    };
}

story! {
    threads::a_thread_is_kept_whole_and_changes_in_steps,
    threads::a_title_that_is_there_is_never_suggested_away,
    threads::threads_page_in_both_orders_with_every_limit,
    threads::the_newest_threads_page_as_if_there_were_no_others,
    threads::a_cursor_must_be_one_of_the_owners_threads,
    threads::old_threads_are_swept_in_batches_with_their_files,
    items::items_page_in_both_orders_with_every_limit_and_hidden_ones_left_out,
    items::a_cursor_must_be_one_of_the_threads_items,
    items::an_item_that_is_saved_again_keeps_its_place,
    items::fifty_at_once_get_fifty_places,
    items::replacing_what_follows_happens_in_one_step,
    items::items_are_removed_and_strangers_passed_over,
    items::an_opinion_replaces_the_one_before_and_goes_with_its_item,
    items::a_deleted_thread_stays_deleted,
    owners::two_owners_never_meet,
    files::a_file_belongs_to_the_thread_of_its_message,
    files::a_message_takes_files_that_are_free_or_none,
    files::of_many_messages_one_takes_a_file,
    files::a_generated_image_belongs_to_the_thread_that_shows_it,
    files::what_a_user_keeps_is_counted_over_all_agents,
    files::a_user_gets_no_file_that_is_more_than_they_may_keep,
    files::of_several_uploads_of_a_file_one_is_kept,
    files::of_many_files_the_known_ones_are_told_apart,
    files::files_that_no_message_carries_are_swept_in_batches,
    texts::every_text_comes_back_as_it_was,
    texts::an_id_with_a_nul_is_simply_not_there,
    turns::one_of_many_claims_wins,
    turns::a_turn_is_claimed_kept_and_given_back,
    turns::the_clocks_of_replicas_may_differ,
    turns::a_turn_that_did_not_get_through_is_remembered_for_a_while,
    turns::what_a_turn_is_about_stands_with_its_claim,
    turns::a_claim_that_ran_out_is_renewed_under_the_key_that_it_has_by_then,
    turns::a_key_is_good_for_one_body_alone,
    turns::the_same_request_makes_one_thread,
    turns::a_request_that_got_through_or_is_too_old_makes_another_thread,
    turns::a_later_turn_does_not_hide_the_request_that_made_the_thread,
    revocations::a_revocation_is_of_one_secret_or_of_all_until_then,
    revocations::old_revocations_are_swept_and_a_later_one_still_counts,
    setup::eight_instances_may_start_at_once,
    long::lists_that_take_several_batches_are_whole_and_in_order,
    long::a_page_ends_at_a_mebibyte_and_the_rest_follows,
    long::whoever_has_enough_is_handed_nothing_more,
    flat::pages_of_long_lists_read_no_more_than_they_show,
}
