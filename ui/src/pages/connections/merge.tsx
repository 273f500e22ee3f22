import { Alert, AlertActionCloseButton } from 'pf/Alert';
import { Button } from 'pf/Button';
import type { Change, Clash, Draft } from './draft';

export interface Merged {
  revision: string;
  author: string | null;
  comment: string | null;
  taken: Change[];
  clashes: Clash[];
  listsToo: boolean;
}

/** Somebody else has saved while one was editing: what came in, and where the two differ. */
export function MergeNotice({ merged, draft, onTake, onClose }: {
  merged: Merged; draft: Draft; onTake: (part: Partial<Draft>, clash: Clash) => void; onClose: () => void;
}) {
  return (
    <Alert isInline isLiveRegion variant={merged.clashes.length ? 'danger' : 'warning'}
      title={`${merged.author ?? 'Somebody else'} has saved revision ${merged.revision} while you were editing`}
      actionClose={<AlertActionCloseButton title="Close the notice" onClose={onClose} />}>
      <div className="pt-stack">
        {merged.comment && <p>“{merged.comment}”</p>}
        <p>Your changes are still here and not saved. They are now based on that revision; review them and save again.</p>
        {merged.taken.length > 0 && (
          <ul className="pt-bullets">
            {merged.taken.map((one) => <li key={one.pointer}>Taken over: {one.label}, from “{one.from}” to “{one.to}”</li>)}
          </ul>
        )}
        {merged.listsToo && <p>Lists show what is in force now, with your additions and removals marked in them.</p>}
        {merged.clashes.map((one) => (
          <p key={one.pointer} className="pt-inline">
            <span><strong>{one.label}</strong> you have both changed: theirs is “{one.from}”, yours is “{one.to}”. Saving puts yours in its place.</span>
            <Button variant="secondary" size="sm" onClick={() => onTake(one.theirs(draft), one)}>Take theirs</Button>
          </p>
        ))}
      </div>
    </Alert>
  );
}
