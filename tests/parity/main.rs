//! Does this server say on the wire what the official one says? Each fixture is a conversation with
//! a server built on `openai-chatkit` 1.6.5 (Python), captured with a scripted model; it is played
//! to the real binary here and compared whole, event by event, with the requests that reach the
//! model. What is different on purpose stands in [`differences::TABLE`].
//!
//! `CHATKIT_PARITY_URL` names another server's endpoint to play the same to, with nothing allowed
//! to differ: against the server that the fixtures come from, this tests the tests. That server
//! finds the model's address in the header `x-parity-model`, the model's API in `x-parity-api`, and
//! keeps apart what bears another `x-parity-run`.
#![cfg(test)]

mod compare;
mod differences;
mod fixture;
mod model;
mod model_input;
mod play;
mod support;
mod target;

use std::collections::BTreeSet;

use crate::differences::TABLE;
use crate::fixture::Fixture;

/// A test for each fixture, under its name.
macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        const SCENARIOS: &[&str] = &[$(stringify!($name)),*];

        mod as_the_official_server {
            $(
                #[tokio::test]
                async fn $name() {
                    crate::play::play(stringify!($name)).await;
                }
            )*
        }
    };
}

scenarios!(
    add_user_message,
    annotations,
    any_unicode,
    arguments_that_are_not_json,
    attachments,
    bad_requests,
    chat_any_unicode,
    chat_attachments_and_tags,
    chat_client_tool,
    chat_content_filter,
    chat_empty_answer,
    chat_empty_content_first,
    chat_error_object,
    chat_leaving_in_the_middle,
    chat_length,
    chat_message_while_a_call_is_pending,
    chat_model_says_400,
    chat_no_role_no_usage_no_done,
    chat_plain_text,
    chat_raw_reasoning,
    chat_reasoning_and_a_client_tool,
    chat_reasoning_content,
    chat_reasoning_with_null_content,
    chat_refusal,
    chat_several_parts_of_user_text,
    chat_stream_is_cut,
    chat_text_and_a_client_tool,
    client_tool_and_its_output,
    client_tool_outputs_of_every_kind,
    client_tool_that_fails_afterwards,
    client_tool_twice_in_a_turn,
    create_plain_text,
    custom_actions,
    empty_arguments,
    empty_message,
    empty_response,
    error_event_flat,
    error_event_nested,
    failed_after_a_message,
    failed_at_once,
    failed_in_reasoning,
    failed_in_the_middle,
    frame_that_is_not_json,
    image_generation,
    image_without_a_result,
    image_without_partials,
    incomplete,
    incomplete_after_a_message,
    inference_options,
    interleaved_messages,
    items_feedback,
    items_list,
    leaving_a_continued_workflow,
    leaving_a_second_part,
    leaving_after_a_tool_output,
    leaving_after_a_whole_message,
    leaving_an_image,
    leaving_at_blank_text,
    leaving_before_any_text,
    leaving_in_reasoning,
    leaving_in_the_middle_of_a_message,
    leaving_twice,
    loose_framing_of_the_model,
    message_then_reasoning_then_a_client_tool,
    message_while_a_call_is_pending,
    message_with_content_at_once,
    model_answers_without_a_stream,
    model_says_400,
    model_says_401,
    model_says_403,
    model_says_404,
    model_says_429_then_answers,
    model_says_500,
    model_says_500_then_answers,
    nested_arguments,
    other_hosted_tools,
    output_into_an_unknown_thread,
    output_without_a_call,
    phases,
    quote_and_tags,
    quoted_text,
    raw_reasoning_is_not_shown,
    reasoning_after_the_message,
    reasoning_alone,
    reasoning_and_a_call_that_is_not_answered,
    reasoning_and_a_client_tool,
    reasoning_and_an_image,
    reasoning_and_two_client_tools,
    reasoning_continues_with_no_new_thought,
    reasoning_then_a_message_then_a_client_tool,
    reasoning_with_two_summaries,
    reasoning_without_summary,
    reasoning_without_summary_and_a_client_tool,
    refusal,
    retry_after_a_failure,
    retry_after_item,
    retry_after_something_else,
    retry_far_back,
    retry_of_a_pending_call,
    retry_of_an_answered_call,
    retry_of_reasoning,
    retry_that_fails,
    retry_twice_the_same,
    searches,
    several_parts_and_messages,
    several_parts_of_user_text,
    several_reasoning_items,
    stream_ends_too_early,
    stream_is_cut,
    tags,
    text_and_refusal,
    text_before_a_client_tool,
    threads_delete,
    threads_list,
    threads_list_after_activity,
    threads_list_of_nobody,
    threads_update,
    unknown_attachment,
    unknown_attachment_in_a_thread,
    unknown_cursors,
    unknown_fields_are_ignored,
    unknown_threads,
    unknown_tool,
);

#[test]
fn every_fixture_is_played() {
    let files: BTreeSet<String> = fixture::names();
    let played: BTreeSet<String> = SCENARIOS.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(files, played);
}

#[test]
fn every_difference_that_a_fixture_names_is_in_the_table_and_the_other_way_round() {
    let mut named = BTreeSet::new();
    for name in fixture::names() {
        let steps = Fixture::load(&name).steps;
        named.extend(steps.into_iter().filter_map(|step| step.ours).map(|ours| ours.difference));
    }
    let known: BTreeSet<String> =
        TABLE.iter().filter(|row| !row.everywhere).map(|row| row.name.to_owned()).collect();
    assert_eq!(named, known);
    assert!(TABLE.iter().all(|row| row.reason.len() > 20), "each difference has a reason");
}
