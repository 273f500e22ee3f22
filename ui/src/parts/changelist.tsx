import { count } from './format';
import { readable, titled, unlimited, type Change } from './changes';

const OPEN_UP_TO = 8;
const SHOWN = 500;

function Entries({ change }: { change: Change }) {
  const removed = change.removed ?? [];
  const added = change.added ?? [];
  const n = removed.length + added.length;
  const said = [added.length ? `${count(added.length, 'entry', 'entries')} added` : '',
    removed.length ? `${count(removed.length, 'entry', 'entries')} removed` : '',
    n === 0 ? 'another order' : ''].filter(Boolean).join(', ');
  const total = change.after_count === undefined ? '' : `; ${count(change.after_count, 'entry', 'entries')} now, ${change.before_count} before`;
  if (n === 0) return <p>{said}{total}</p>;
  const rows = [...removed.map((one) => ['−', one] as const), ...added.map((one) => ['+', one] as const)];
  return (
    <details open={n <= OPEN_UP_TO}>
      <summary>{said}{total}</summary>
      <ul tabIndex={n > OPEN_UP_TO ? 0 : undefined} aria-label={titled(change.pointer)[1]}>
        {rows.slice(0, SHOWN).map(([sign, one], i) => (
          <li key={i}>
            {sign === '+' ? <ins><Sign sign="+" word="added" />{readable(one)}</ins> : <del><Sign sign="−" word="removed" />{readable(one)}</del>}
          </li>
        ))}
        {n > SHOWN && <li>… and {count(n - SHOWN, 'entry', 'entries')} more</li>}
      </ul>
    </details>
  );
}

function Sign({ sign, word }: { sign: string; word: string }) {
  return <><span className="pt-changes__sign" aria-hidden="true">{sign} </span><span className="pf-v6-screen-reader">{word}: </span></>;
}

/** Settings that differ, each with what it was and what it is. */
export function ChangeList({ changes }: { changes: Change[] }) {
  const groups = new Map<string, Change[]>();
  for (const change of changes) {
    const [group] = titled(change.pointer);
    groups.set(group, [...(groups.get(group) ?? []), change]);
  }
  return (
    <div className="pt-changes">
      {[...groups].map(([group, some]) => (
        <section key={group} className="pt-changes__group">
          <h3>{group || 'Settings'}</h3>
          {some.map((change) => (
            <div key={change.pointer} className="pt-changes__one" data-pointer={change.pointer}>
              <div className="pt-changes__name" title={change.pointer}>{titled(change.pointer)[1]}</div>
              {change.added || change.removed ? <Entries change={change} /> : (
                <div className="pt-changes__values">
                  <del><span className="pf-v6-screen-reader">before: </span>{unlimited(change.pointer, change.before) ?? readable(change.before)}</del>
                  <span aria-hidden="true">→</span>
                  <ins><span className="pf-v6-screen-reader">now: </span>{unlimited(change.pointer, change.after) ?? readable(change.after)}</ins>
                </div>
              )}
            </div>
          ))}
        </section>
      ))}
    </div>
  );
}
