import { useState } from 'react';
import { Button } from 'pf/Button';
import { Checkbox } from 'pf/Checkbox';
import { EmptyState, EmptyStateBody } from 'pf/EmptyState';
import { Label } from 'pf/Label';
import { PageSection } from 'pf/Page';
import CompareIcon from 'icons/rh-ui-compare-icon';
import type { Status } from '../../api/types';
import { number } from '../../parts/format';
import { useQuery } from '../../parts/query';
import { Pager, Records, usePages, type Column } from '../../parts/records';
import { useIsAdministrator } from '../../parts/session';
import { Loaded, PageHead, When } from '../../parts/states';
import { Comparison } from './comparison';
import { Restore } from './restore';

export interface Revision {
  revision: number;
  time: string;
  author: string;
  comment: string;
  restored_from: number | null;
}

const PAGE = 25;

export default function History() {
  const may = useIsAdministrator();
  const pages = usePages<Revision>('/settings/revisions', PAGE);
  const status = useQuery<Status>('/status', 5000);
  const [chosen, setChosen] = useState<number[]>([]);
  const [compared, setCompared] = useState<[number, number] | null>(null);
  const [restored, setRestored] = useState<Revision | null>(null);
  const current = status.data?.revision ?? null;
  const newest = pages.query.data?.total ?? 1;

  const choose = (revision: number, on: boolean) =>
    setChosen((some) => on ? [...some, revision].slice(-2) : some.filter((one) => one !== revision));
  const compare = () => {
    const [from, to] = [...chosen].sort((a, b) => a - b);
    if (from !== undefined && to !== undefined) setCompared([from, to]);
  };
  const columns: Column<Revision>[] = [
    { title: 'Compare', kind: 'tight', cell: (row) => (
      <Checkbox id={`choose-${row.revision}`} aria-label={`Compare revision ${row.revision}`}
        isChecked={chosen.includes(row.revision)} onChange={(_, on) => choose(row.revision, on)} />
    ) },
    { title: 'Revision', kind: 'head', cell: (row) => (
      <>{number(row.revision)} {row.revision === current && <Label isCompact color="green">in force</Label>}
        {row.revision === status.data?.pending?.revision && <> <Label isCompact color="yellow">to be confirmed</Label></>}</>
    ) },
    { title: 'When', kind: 'tight', cell: (row) => <><When at={row.time} /><span className="pt-records__sub"><When at={row.time} relative /></span></> },
    { title: 'Who', cell: (row) => row.author },
    { title: 'Comment', cell: (row) => (row.comment || row.restored_from) && (
      <>{row.comment} {row.restored_from && <Label isCompact color="blue">as revision {number(row.restored_from)}</Label>}</>
    ) },
    { title: 'Actions', kind: 'actions', cell: (row) => (
      <>
        {row.revision > 1 && <Button variant="secondary" size="sm" aria-label={`Changes of revision ${row.revision}`} onClick={() => setCompared([row.revision - 1, row.revision])}>Changes</Button>}
        {may && current !== null && row.revision !== current && <Button variant="secondary" size="sm" aria-label={`Restore revision ${row.revision}`} onClick={() => setRestored(row)}>Restore</Button>}
      </>
    ) },
  ];
  return (
    <>
      <PageHead title="Settings history">Every change of the settings is kept as a revision: what it was, whose, and when. Going back makes a new one; nothing is ever lost.</PageHead>
      <PageSection>
        <div className="pt-tools">
          <Button icon={<CompareIcon />} variant="secondary" isDisabled={chosen.length !== 2} onClick={compare}>
            {chosen.length === 2 ? `Compare ${Math.min(...chosen)} with ${Math.max(...chosen)}` : 'Compare two'}
          </Button>
          <span className="pt-muted">{chosen.length === 2 ? '' : 'Tick two revisions to see how they differ.'}</span>
        </div>
        <Loaded query={pages.query} what="the revisions">
          {(data) => data.items.length === 0
            ? (
              <EmptyState titleText="No revision is stored yet" headingLevel="h2">
                <EmptyStateBody>The settings are the default ones. The first change makes revision 1.</EmptyStateBody>
              </EmptyState>
            )
            : <Records label="Revisions" columns={columns} rows={data.items} rowKey={(row) => String(row.revision)} />}
        </Loaded>
        <Pager pages={pages} what="revisions" />
      </PageSection>
      {compared && <Comparison from={compared[0]} to={compared[1]} newest={newest} onClose={() => setCompared(null)} />}
      {restored && current !== null && (
        <Restore revision={restored} current={current} onClose={() => setRestored(null)}
          onStale={status.reload} onDone={() => { setRestored(null); setChosen([]); pages.first(); pages.query.reload(); status.reload(); }} />
      )}
    </>
  );
}
