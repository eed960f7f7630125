/*
 * What the clients of the TCP guest say: `<connection>.<request>;`, where a request that begins with `big` is
 * answered at length, and after the answer to one that begins with `quit` the guest ends its output.
 */

const bigAnswerBytes = 300_000
/** So long that a packet with an answer can be told from one without (network.ts). */
const answerBytes = 300

export function answerTo(request: string): string {
  return `${request} done`.padEnd(request.includes('.big') ? bigAnswerBytes : answerBytes, '.')
}

export function isLast(request: string): boolean {
  return request.includes('.quit')
}

/** Which connection a request came on. */
export function connectionOf(request: string): string {
  return request.split('.', 1)[0] ?? ''
}
