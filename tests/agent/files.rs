//! What if the model refuses what is in a conversation? A file fails the answer to its message, and
//! is not sent again with what comes after; and roles that don't take turns are made to.

use std::path::PathBuf;

use chatkit_server::agent::AgentError;
use chatkit_server::ids::new_id;
use serde_json::{Value, json};

use crate::setup::{Asked, Model, agent, answer, frame, message};

/// A file of a message, where the files of these tests are.
struct Image(String);

impl Image {
    fn new() -> Self {
        let image = Self(new_id("atc_").to_string());
        std::fs::write(image.path(), "PNG").expect("it can be written");
        image
    }

    fn path(&self) -> PathBuf {
        std::env::temp_dir().join(&self.0)
    }

    /// A message that carries it.
    fn message(&self, text: &str) -> Value {
        let mut message = message(text, &json!({}));
        message["attachments"] =
            json!([{"id": self.0, "name": "cut.png", "mime_type": "image/png", "type": "image"}]);
        message
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.path());
    }
}

fn refusal(status: u16) -> (u16, String) {
    let error = json!({"message": "The image data is not valid.", "type": "invalid_request_error",
        "param": "input", "code": "invalid_value"});
    (status, json!({"error": error}).to_string())
}

fn hello() -> (u16, String) {
    let done = json!({"type": "response.output_item.done", "item": {"type": "message", "id": "m",
        "content": [{"type": "output_text", "text": "Hello", "annotations": []}]}});
    let completed = json!({"type": "response.completed", "response": {"output": []}});
    (200, frame(&done) + &frame(&completed))
}

/// The parts of each message that was sent, an image by its type.
fn parts(asked: &Asked) -> Vec<Vec<&str>> {
    let messages = asked.body["input"].as_array().expect("a list").iter();
    messages
        .map(|message| {
            let parts = message["content"].as_array().expect("parts").iter();
            parts
                .map(|part| part["text"].as_str().or(part["type"].as_str()).expect("a part"))
                .collect()
        })
        .collect()
}

const NOT_SHOWN: &str = "A file stood here. Its content can't be shown.";

#[tokio::test]
async fn a_refused_file_of_an_earlier_message_is_left_out_and_the_rest_is_asked_again() {
    let (earlier, current) = (Image::new(), Image::new());
    let thread = [earlier.message("look"), current.message("and this?")];
    for status in [400, 422] {
        let model = Model::start([refusal(status), hello()]).await;
        let (_, outcome) = answer(&agent(&model.base, &[]), &thread).await;
        assert_eq!(outcome, Ok(()), "{status}");
        let asked = model.asked();
        assert_eq!(asked.len(), 2);
        assert_eq!(parts(&asked[0]), [["look", "input_image"], ["and this?", "input_image"]]);
        assert_eq!(parts(&asked[1]), [["look", NOT_SHOWN], ["and this?", "input_image"]]);
    }
}

#[tokio::test]
async fn a_tools_output_counts_to_the_message_that_it_was_called_for() {
    let (earlier, current) = (Image::new(), Image::new());
    let call = json!({"type": "client_tool_call", "status": "completed", "call_id": "c", "name": "n",
        "arguments": {}, "output": 1});
    let thread = [earlier.message("look"), current.message("and this?"), call];
    let model = Model::start([refusal(400), hello()]).await;
    let (_, outcome) = answer(&agent(&model.base, &[]), &thread).await;
    assert_eq!(outcome, Ok(()));
    let asked = &model.asked()[1].body["input"];
    assert_eq!(asked[0]["content"][1]["text"], NOT_SHOWN);
    assert_eq!(asked[1]["content"][1]["type"], "input_image");
}

#[tokio::test]
async fn nothing_is_asked_again_where_no_earlier_file_can_be_the_reason() {
    let (earlier, current) = (Image::new(), Image::new());
    let plain = message("Hi", &json!({}));
    for (replies, thread, asked) in [
        (vec![refusal(400), hello()], vec![plain.clone(), current.message("look")], 1),
        (vec![refusal(400), hello()], vec![plain.clone(), plain.clone()], 1),
        (vec![refusal(401), hello()], vec![earlier.message("look"), plain.clone()], 1),
        (vec![refusal(404), hello()], vec![earlier.message("look"), plain.clone()], 1),
        (
            vec![refusal(400), refusal(400), hello()],
            vec![earlier.message("look"), plain.clone()],
            2,
        ),
    ] {
        let model = Model::start(replies).await;
        let (_, outcome) = answer(&agent(&model.base, &[]), &thread).await;
        assert!(
            matches!(outcome, Err(AgentError::Failed { allow_retry: false, .. })),
            "{outcome:?}"
        );
        assert_eq!(model.asked().len(), asked, "{thread:?}");
    }
}

/// Chat templates, as those of Gemma and Mistral, refuse a conversation in which the user and the
/// model don't take turns.
#[tokio::test]
async fn a_conversation_that_is_refused_is_asked_again_with_the_user_and_the_model_taking_turns() {
    let done =
        json!({"choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}]});
    let hello = (200, frame(&done) + "data: [DONE]\n\n");
    let hidden = json!({"type": "sdk_hidden_context", "content": "The user cancelled the stream."});
    let said = |text: &str| json!({"type": "assistant_message", "content": [{"text": text, "annotations": []}]});
    let call = json!({"type": "client_tool_call", "status": "completed", "call_id": "c", "name": "n",
        "arguments": {}, "output": 1});
    let completions = [("CHATKIT_MODEL_API", "chat-completions")];
    let contents = |asked: &Asked| {
        let messages = asked.body["messages"].as_array().expect("a list").iter();
        messages.map(|message| json!([message["role"], message["content"]])).collect::<Vec<_>>()
    };
    let (one, two) = (message("one", &json!({})), message("two", &json!({})));
    let words = "Hidden context for the agent (not shown to the user):\n<HiddenContext>\nThe user \
                 cancelled the stream.\n\
                 </HiddenContext>";

    let model = Model::start([refusal(400), hello.clone()]).await;
    let thread = [
        one.clone(),
        hidden.clone(),
        one.clone(),
        said("a"),
        said("b"),
        call,
        said("c"),
        two.clone(),
    ];
    let (_, outcome) = answer(&agent(&model.base, &completions), &thread).await;
    assert_eq!(outcome, Ok(()));
    let asked = model.asked();
    assert_eq!(
        contents(&asked[0])[..3],
        [json!(["user", "one"]), json!(["system", words]), json!(["user", "one"])]
    );
    assert_eq!(
        contents(&asked[1]),
        [
            json!(["user", format!("one\n\n{words}\n\none")]),
            json!(["assistant", "a\n\nb"]),
            json!(["tool", "1"]),
            json!(["assistant", "c"]),
            json!(["user", "two"]),
        ]
    );

    // A file is left out first: it may have been that.
    let earlier = Image::new();
    let model = Model::start([refusal(400), refusal(400), hello]).await;
    let thread = [earlier.message("look"), two.clone()];
    let (_, outcome) = answer(&agent(&model.base, &completions), &thread).await;
    assert_eq!(outcome, Ok(()));
    let asked = model.asked();
    let look = json!([{"type": "text", "text": "look"}, {"type": "text", "text": NOT_SHOWN}]);
    assert_eq!(contents(&asked[1]), [json!(["user", look]), json!(["user", "two"])]);
    let all = json!([{"type": "text", "text": "look"}, {"type": "text", "text": format!("{NOT_SHOWN}\n\ntwo")}]);
    assert_eq!(contents(&asked[2]), [json!(["user", all])]);

    // OpenAI's own API takes what it is given, so it has another reason.
    let model = Model::start([refusal(400), refusal(400)]).await;
    let (_, outcome) = answer(&agent(&model.base, &[]), &[one, hidden, two]).await;
    assert!(outcome.is_err());
    assert_eq!(model.asked().len(), 1);
}
