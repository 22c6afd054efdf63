/** Name and path of each object. */
export const OBJECTS: readonly (readonly [name: string, path: string])[];
export const VARIANTS: readonly number[];
export function withForeignNames(bytes: Uint8Array, variant: number): Uint8Array;
export function sha256(bytes: Uint8Array): string;
