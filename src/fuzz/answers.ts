/**
 * @module src/fuzz/answers
 * What a kernel answered, written into the transcript of a finding, so that `bpftwin replay` says what differs from it. Owns the filling in;
 * transcripts are `src/replay/`'s.
 */
import { RECORDED_ALGORITHMS } from '../../crypto/algorithms.ts';
import { KernelTarget } from '../replay/kernel-target.ts';
import { Performer, type Got } from '../replay/perform.ts';
import { TranscriptReader, type Operation } from '../replay/transcript.ts';
import { writeOperation } from '../replay/write.ts';

/** Processors of the kernel that `bpftwin replay` makes; what is per processor is so large. */
const CPUS = 2;

/** The operations of a transcript, in order. */
export function operationsOf(transcript: string): readonly Operation[] {
  const reader = new TranscriptReader('input');
  return transcript.split('\n').flatMap((line) => {
    const read = reader.read(line);
    return read?.kind === 'operation' ? [read.value] : [];
  });
}

/** What a new kernel of ours answers, as `bpftwin replay` would have it; shorter than the list where it throws. */
export function performOnTwin(operations: readonly Operation[], kernelBTF: (() => Uint8Array) | undefined): readonly Got[] {
  const performer = new Performer(new KernelTarget({ ...(kernelBTF === undefined ? {} : { kernelBTF }), algorithms: RECORDED_ALGORITHMS, cpus: CPUS }));
  const answers: Got[] = [];
  try {
    for (const operation of operations) answers.push(performer.perform(operation));
    performer.reset();
    performer.release();
  } catch {
    // What escapes is the finding; the kernel is nobody's from here on.
  }
  return answers;
}

/** The transcript with these answers in the place of its own; operations without one keep theirs. */
export function withAnswers(transcript: string, answers: readonly Got[]): string {
  const reader = new TranscriptReader('input');
  let index = 0;
  const lines = transcript.split('\n').map((line) => {
    const read = reader.read(line);
    if (read?.kind !== 'operation') return line;
    const answer = answers[index++];
    return answer === undefined ? line : writeOperation(read.value, answer);
  });
  return lines.join('\n');
}
