/**
 * What a command answers when it fails: the text goes to the client, and nothing else of the command does.
 */
export class ReplyError extends Error {
  constructor(text: string) {
    super(text)
    this.name = 'ReplyError'
  }
}

export const wrongType = (): ReplyError =>
  new ReplyError('WRONGTYPE Operation against a key holding the wrong kind of value')
export const notAnInteger = (): ReplyError => new ReplyError('ERR value is not an integer or out of range')
export const syntaxError = (): ReplyError => new ReplyError('ERR syntax error')
export const noSuchKey = (): ReplyError => new ReplyError('ERR no such key')
