/** Thrown to leave an instruction that has not begun, for a stop that was already requested. */
export class StopBefore {}
