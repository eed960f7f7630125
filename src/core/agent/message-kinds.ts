import type { CheckpointMessage, GatewayMessage, Message, MessageType } from '../message.ts'

const ofGateway: Readonly<Record<GatewayMessage['type'], true>> = {
  assign: true, begin: true, epoch: true, mark: true, 'mark-refused': true, promote: true,
  'open-network': true, 'tail-credit': true, replayed: true, 'heartbeat-ack': true
}

const ofAgents: Readonly<Record<CheckpointMessage['type'], true>> = {
  'checkpoint-begin': true, 'checkpoint-data': true, 'checkpoint-end': true, 'checkpoint-abort': true,
  'checkpoint-stored': true, 'checkpoint-refused': true
}

/** Whether a gateway may say this to an agent. */
export function isGatewayMessage(message: Message): message is GatewayMessage {
  return (ofGateway as Partial<Record<MessageType, true>>)[message.type] === true
}

/** Whether one agent may say this to another. */
export function isCheckpointMessage(message: Message): message is CheckpointMessage {
  return (ofAgents as Partial<Record<MessageType, true>>)[message.type] === true
}
