import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createWebSocketStream, type WebSocket } from 'ws'

/** Bytes to and from a client, over whatever they travel. */
export interface Wire {
  readonly stream: Duplex
  /** Ends when what was written has gone out. */
  finish(): void
  /** Ends at once: the far side doesn't read. */
  reset(): void
}

/** TCP, or TLS over it. */
export function wireOfSocket(socket: Socket): Wire {
  return {
    stream: socket,
    finish: () => socket.destroySoon(),
    // Only plain TCP can be reset; TLS is just dropped.
    reset: () => void ('encrypted' in socket ? socket.destroy() : socket.resetAndDestroy()),
  }
}

/** A WebSocket whose binary frames carry MQTT, cut as they please [MQTT-6.0.0-1] [MQTT-6.0.0-2]. */
export function wireOfWebSocket(socket: WebSocket): Wire {
  const stream = createWebSocketStream(socket)
  // A frame of text is none of MQTT's: 1003, "unsupported data" (RFC 6455 §7.4.1).
  socket.on('message', (_data, isBinary) => {
    if (!isBinary) socket.close(1003)
  })
  return {
    stream,
    finish: () => void stream.end(),
    reset: () => socket.terminate(),
  }
}
