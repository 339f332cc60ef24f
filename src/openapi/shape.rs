//! How are the types of the document named? What is derived from Rust has choices written in place
//! and without a name: here each gets one, and says by which member it is told apart.

use serde_json::{Map, Value, json};

use super::FileLimits;

/// Types that carry `type` by an attribute of serde's that the derivation does not read.
const TAGGED: [(&str, &str); 2] = [("OutputText", "output_text"), ("Annotation", "annotation")];

const SCHEMAS: &str = "#/components/schemas/";

/// Names the choices of every type, and makes one list of all requests of the chat.
pub(super) fn name_choices(document: &mut Value) {
    let Some(Value::Object(schemas)) = document.pointer_mut("/components/schemas") else { return };
    complete_types(schemas);
    for page in schemas.iter_mut().filter(|(name, _)| name.starts_with("Page_")) {
        let element = page.0.trim_start_matches("Page_");
        page.1["properties"]["data"]["items"] = json!({ "$ref": format!("{SCHEMAS}{element}") });
    }
    spread_choices(schemas);
    let mut named = Map::new();
    for (name, schema) in schemas.iter_mut() {
        name_choices_of(name, schema, &mut named);
    }
    schemas.append(&mut named);
    join_choices(schemas, "ChatRequest");
    // `{}` is more than one of them.
    if let Some(Value::Object(answer)) = schemas.get_mut("ChatAnswer")
        && let Some(choices) = answer.remove("oneOf")
    {
        answer.insert("anyOf".to_owned(), choices);
    }
}

/// Says how large a file may be, and how many a message may carry.
pub(super) fn limit_files(document: &mut Value, files: FileLimits) {
    if let Some(size) = document.pointer_mut("/components/schemas/CreateAttachment/properties/size")
    {
        // A truth value counts as 0 or 1, as officially.
        size["type"] = json!(["integer", "boolean"]);
        size["maximum"] = json!(files.bytes);
    }
    if let Some(ids) =
        document.pointer_mut("/components/schemas/UserMessageInput/properties/attachments")
    {
        ids["maxItems"] = json!(files.count);
        ids["uniqueItems"] = json!(true);
    }
}

/// Adds what the derivation can't say.
fn complete_types(schemas: &mut Map<String, Value>) {
    for (name, tag) in TAGGED {
        if let Some(schema) = schemas.get_mut(name) {
            schema["properties"]["type"] = json!({ "type": "string", "enum": [tag] });
            if let Some(Value::Array(required)) = schema.get_mut("required") {
                required.push("type".into());
            }
        }
    }
    // The data of an event of a stream are JSON in a text.
    if let Some(event) = schemas.get_mut("StreamedEvent") {
        let data = event["properties"]["data"].take();
        event["properties"]["data"] = json!({ "type": "string", "contentMediaType": "application/json", "contentSchema": data });
    }
    // One of the two says which workflow.
    if let Some(session) = schemas.get_mut("SessionRequest") {
        let without = |name: &str| json!({ "properties": { name: { "type": "null" } } });
        session["anyOf"] = json!([without("workflow"), without("workflowId")]);
    }
    // The headers of a form's part hold no other names.
    if let Some(form) = schemas.get_mut("UploadForm") {
        form["propertyNames"] = json!({ "pattern": "^[ !#-~]+$" });
    }
}

/// Makes a type that is a choice with members besides a choice whose every object has these
/// members: what a program generates from the other form can't be told apart by its tag.
fn spread_choices(schemas: &mut Map<String, Value>) {
    let choices_of = |schema: &Value| {
        let kind = schema["allOf"][0]["$ref"].as_str()?.strip_prefix(SCHEMAS)?;
        let choices = schemas.get(kind)?.get("oneOf")?.as_array()?;
        choices
            .iter()
            .all(|choice| tag_of(choice).is_some())
            .then(|| (kind.to_owned(), choices.clone()))
    };
    let spread =
        schemas.iter().filter_map(|(name, schema)| Some((name.clone(), choices_of(schema)?)));
    for (name, (kind, mut choices)) in spread.collect::<Vec<_>>() {
        schemas.remove(&kind);
        let Some(Value::Object(schema)) = schemas.get_mut(&name) else { continue };
        let members = schema.remove("allOf").map(|mut parts| parts[1].take()).unwrap_or_default();
        for choice in &mut choices {
            let object = match choice
                .get_mut("allOf")
                .and_then(Value::as_array_mut)
                .and_then(|parts| parts.last_mut())
            {
                Some(object) => object,
                None => choice,
            };
            add_members(object, &members);
        }
        schema.insert("oneOf".to_owned(), Value::Array(choices));
    }
}

fn add_members(object: &mut Value, members: &Value) {
    if let (Some(Value::Object(ours)), Some(theirs)) =
        (object.get_mut("properties"), members["properties"].as_object())
    {
        ours.extend(theirs.clone());
    }
    if let (Some(Value::Array(ours)), Some(theirs)) =
        (object.get_mut("required"), members["required"].as_array())
    {
        ours.extend(theirs.iter().cloned());
    }
}

/// Moves the choices of a type out into types of their own, where a member tells them apart.
fn name_choices_of(name: &str, schema: &mut Value, named: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = schema.get_mut("oneOf") else { return };
    let Some(tags) = choices.iter().map(tag_of).collect::<Option<Vec<_>>>() else { return };
    let Some(property) = tags.first().map(|(property, _)| property.clone()) else { return };
    let mut mapping = Map::new();
    for (choice, (_, tag)) in choices.iter_mut().zip(tags) {
        let choice_name = match name.strip_suffix("Request") {
            Some(_) => format!("{}Request", camel_case(&tag)),
            None => format!("{name}{}", camel_case(&tag)),
        };
        let reference = format!("{SCHEMAS}{choice_name}");
        mapping.insert(tag, json!(reference));
        named.insert(choice_name, std::mem::replace(choice, json!({ "$ref": reference })));
    }
    schema["discriminator"] = json!({ "propertyName": property, "mapping": mapping });
}

/// The member that has one possible value, and that value. A choice may be an object, or several
/// that hold together.
fn tag_of(choice: &Value) -> Option<(String, String)> {
    let together = choice.get("allOf").and_then(Value::as_array);
    let objects = together.map_or(std::slice::from_ref(choice), Vec::as_slice);
    let mut members =
        objects.iter().filter_map(|object| object.get("properties")?.as_object()).flatten();
    members.find_map(|(name, member)| match member.get("enum")?.as_array()?.as_slice() {
        [Value::String(tag)] => Some((name.clone(), tag.clone())),
        _ => None,
    })
}

/// Makes one list of a choice between lists.
fn join_choices(schemas: &mut Map<String, Value>, name: &str) {
    let Some(Value::Array(lists)) = schemas.get(name).and_then(|schema| schema.get("oneOf")) else {
        return;
    };
    let list_of = |list: &Value| schemas.get(list.get("$ref")?.as_str()?.strip_prefix(SCHEMAS)?);
    let lists: Vec<&Value> = lists.iter().filter_map(list_of).collect();
    let choices = lists.iter().filter_map(|list| list["oneOf"].as_array()).flatten().cloned();
    let mapping =
        lists.iter().filter_map(|list| list["discriminator"]["mapping"].as_object()).flatten();
    let mapping: Map<String, Value> =
        mapping.map(|(tag, name)| (tag.clone(), name.clone())).collect();
    let joined = json!({
        "oneOf": choices.collect::<Vec<_>>(),
        "discriminator": { "propertyName": "type", "mapping": mapping },
    });
    if let (Some(Value::Object(schema)), Value::Object(joined)) = (schemas.get_mut(name), joined) {
        schema.extend(joined);
    }
}

/// `threads.get_by_id` as `ThreadsGetById`.
fn camel_case(tag: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>())
    };
    tag.split(|letter: char| !letter.is_alphanumeric()).filter_map(word).collect()
}
