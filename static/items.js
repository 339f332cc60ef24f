// @ts-check
// How the text box shows each kind of item. Whatever others wrote becomes text, never markup.

/** @typedef {import('./protocol.js').Item} Item */

/** An element with its class, its text or its children.
 * @param {string} tag @param {string} name @param {...(Node | string | null | undefined | false)} children @returns {any} */
export function make(tag, name, ...children) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Shows an item in its element, or shows it anew. An element stays the same from an item's first event to its last,
 * so that a reader keeps the place.
 * @param {HTMLElement} root @param {Item} item @returns {boolean} whether there is anything to see */
export function showItem(root, item) {
  root.className = `item ${item.type.replaceAll('_', '-')}`;
  root.dataset.item = item.id;
  const kind = KINDS[item.type];
  if (!kind) return false;
  const wasOpen = root.querySelector('details')?.open;
  root.replaceChildren(...kind(item).filter((part) => part instanceof Node));
  const details = root.querySelector('details');
  if (details && wasOpen !== undefined) details.open = wasOpen;
  return root.childNodes.length > 0;
}

/** @type {Record<string, (item: any) => any[]>} */
const KINDS = {
  user_message: ({ content, attachments = [], quoted_text: quote }) => [
    who('You'),
    quote && make('blockquote', '', quote),
    text(content.map((/** @type {any} */ part) => (part.type === 'input_tag' ? `@${part.text}` : part.text)).join('')),
    list('files', attachments.map(attachment)),
  ],
  assistant_message: ({ content }) => [
    who('Assistant'),
    ...content.flatMap((/** @type {any} */ part) => [text(part.text), list('sources', (part.annotations ?? []).map((/** @type {any} */ one) => source(one.source)))]),
  ],
  workflow: ({ workflow }) => [
    fold(workflow.summary ? workflow.summary.title ?? `Thought for ${workflow.summary.duration} s` : workflow.type === 'reasoning' ? 'Thinking' : 'Working', list('tasks', workflow.tasks.map(task)), true),
  ],
  task: (item) => [list('tasks', [task(item.task)])],
  client_tool_call: ({ name, arguments: params, status, output }) => [
    fold(`${status === 'pending' ? 'Calls' : 'Called'} ${name} in this page`, make('pre', '', JSON.stringify(params, null, 2), output === undefined ? '' : `\n→ ${JSON.stringify(output, null, 2)}`)),
  ],
  generated_image: ({ image }) => [who('Assistant'), image ? picture(image.url, 'A generated image') : text('An image is being made.')],
  structured_input: ({ inputs, status }) => [
    who('Assistant'),
    list('tasks', inputs.map((/** @type {any} */ input) => `${input.question}${input.answer ? ` ${input.answer.values.join(', ') || '(skipped)'}` : ''}`)),
    status === 'pending' && text('This text box can’t fill in forms: answer in words.'),
  ],
  widget: ({ copy_text: copy }) => [who('Assistant'), text(copy ?? 'A widget, which this text box can’t show.')],
};

/** @param {string} name */
const who = (name) => make('p', 'who', name);

/** @param {string} words */
const text = (words) => (words ? make('p', 'words', words) : null);

/** @param {string} name @param {any[]} entries */
const list = (name, entries) => (entries.length ? make('ul', name, ...entries.map((entry) => make('li', '', entry))) : null);

/** @param {string} title @param {Node | null} content */
function fold(title, content, open = false) {
  const details = make('details', '', make('summary', '', title), content);
  details.open = open;
  return details;
}

/** @param {any} task */
function task(task) {
  const { title, content, queries = [], sources = [] } = task;
  const words = [title, content, queries.length > 0 && queries.map((/** @type {string} */ query) => `“${query}”`).join(', ')].filter(Boolean).join(': ');
  const kind = { web_search: 'Web search', file: 'Files', image: 'Image' }[/** @type {string} */ (task.type)];
  return make('div', task.status_indicator === 'loading' ? 'loading' : '', text([kind, words].filter(Boolean).join(': ')), list('sources', sources.map(source)));
}

/** @param {any} source */
function source(source) {
  const title = source.title || source.filename || source.url;
  return /^https?:/i.test(source.url ?? '') ? link(source.url, title) : title;
}

/** @param {string} href @param {string} title */
const link = (href, title) => Object.assign(make('a', '', title), { href, target: '_blank', rel: 'noopener noreferrer' });

/** @param {any} attachment */
const attachment = ({ name, preview_url: preview }) => (preview ? picture(preview, name) : name);

/** @param {string} src @param {string} alt */
const picture = (src, alt) => Object.assign(make('img', ''), { src, alt });
