// The websocket to the server: opens it, opens it again when it is lost, takes messages apart.

const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 5000;
const HEADER_BYTES = 4;
const REFUSALS = {
  1013: "The display serves as many pages as it may.",
  1008: "The display did not accept what this page asked.",
};

export class Link {
  // `receive(message, pixels)` gets each message; `changed()` is told when the link opens or closes.
  constructor(url, receive, changed) {
    this.url = url;
    this.receive = receive;
    this.changed = changed;
    this.open = false;
    this.lostAt = null;
    this.refused = ""; // why the server ended the connection, where it said so
    this.retryMs = FIRST_RETRY_MS;
    this.connect();
  }

  connect() {
    const socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.open = true;
      this.lostAt = null;
      this.retryMs = FIRST_RETRY_MS;
      this.changed();
    };
    socket.onmessage = (event) => this.receive(...unpack(event.data));
    socket.onclose = (event) => {
      this.refused = REFUSALS[event.code] ?? "";
      this.open = false;
      this.lostAt ??= performance.now();
      this.changed();
      setTimeout(() => this.connect(), this.retryMs);
      this.retryMs = Math.min(2 * this.retryMs, LONGEST_RETRY_MS);
    };
    this.socket = socket;
  }

  send(request) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(request));
  }
}

function unpack(data) {
  if (typeof data === "string") return [JSON.parse(data), null];
  const length = new DataView(data).getUint32(0, true);
  const header = new TextDecoder().decode(new Uint8Array(data, HEADER_BYTES, length));
  return [JSON.parse(header), new Uint8Array(data, HEADER_BYTES + length)];
}
