export const COUNT: number;
/** What is made of each object, in order. */
export const FORMS: readonly string[];
export function shorten(bytes: Uint8Array): string;
export function hostileObject(number: number): Uint8Array;
