// A site that uses ChatKit's React wrapper with a self-hosted server, as a site would write it.

import { ChatKit, useChatKit } from '@openai/chatkit-react';
import { createRoot } from 'react-dom/client';
import { chatkitFetch } from '../../../static/chatkit-fetch.js';

const json = async (answer) => (await answer).json();
const { api, scriptUrl } = await json(fetch('/api/chatkit/config'));
const { token } = await json(fetch('/dev/token', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"user":"ada"}' }));
document.head.append(Object.assign(document.createElement('script'), { async: true, src: scriptUrl }));

const fetchForChatKit = chatkitFetch({ url: api.url, getHeaders: () => ({ Authorization: `Bearer ${token}` }) });

function Chat() {
  const { control, sendUserMessage } = useChatKit({
    api: { ...api, fetch: fetchForChatKit },
    initialThread: localStorage.getItem('thread'),
    composer: { placeholder: 'Write a message', attachments: { enabled: true } },
    onClientTool: ({ name, params }) => (name === 'get_selection' ? { nodes: ['n1'], params } : { error: `no tool ${name}` }),
    onThreadChange: ({ threadId }) => localStorage.setItem('thread', threadId),
    onError: ({ error }) => (document.title = `error: ${error.message}`),
  });
  return (
    <>
      <button onClick={() => sendUserMessage({ text: 'sent by a button of the page' })}>Ask from the page</button>
      <ChatKit control={control} style={{ display: 'block', height: '40rem' }} />
    </>
  );
}

createRoot(document.getElementById('root')).render(<Chat />);
