/** Does it after the host has looked at its events: sooner than a timer would. */
export const yieldToHost: (then: () => void) => void =
  typeof setImmediate === 'function' ? (then) => void setImmediate(then) : byMessageChannel();

/** What of a browser's MessagePort is used here. */
interface Port {
  onmessage: (() => void) | null;
  postMessage(message: number): void;
}

function byMessageChannel(): (then: () => void) => void {
  const waiting: (() => void)[] = [];
  const { port1, port2 } = new MessageChannel() as unknown as { readonly port1: Port; readonly port2: Port };
  port1.onmessage = () => waiting.shift()?.();
  return (then) => {
    waiting.push(then);
    port2.postMessage(0);
  };
}
