import { useEffect, useRef, useState, type ReactNode } from 'react';
import { Alert } from 'pf/Alert';
import { Button } from 'pf/Button';
import { Checkbox } from 'pf/Checkbox';
import { Modal, ModalBody, ModalFooter, ModalHeader } from 'pf/Modal';
import { Radio } from 'pf/Radio';
import { Spinner } from 'pf/Spinner';
import { ApiError, post } from '../../api/client';
import type { ListName } from '../../api/types';
import { count, number } from '../../parts/format';
import type { ImportReport, StagedFile } from './draft';
import { FileField } from './filefield';

const SHOWN = 100;

function Rows({ title, items }: { title: string; items: { line: number; text: string; why: string }[] }) {
  if (items.length === 0) return null;
  return (
    <details className="pt-import__details">
      <summary>{title}</summary>
      <div className="pt-table__scroll pt-import__lines" tabIndex={0} role="region" aria-label={title}>
        <table className="pt-table">
          <thead><tr><th scope="col">Line</th><th scope="col">Text</th><th scope="col">What</th></tr></thead>
          <tbody>
            {items.slice(0, SHOWN).map((one) => (
              <tr key={one.line}>
                <td className="pt-number">{number(one.line)}</td>
                <td className="pt-mono">{one.text}</td>
                <td>{one.why}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {items.length > SHOWN && <p className="pt-muted">… and {number(items.length - SHOWN)} more.</p>}
    </details>
  );
}

function Preview({ report, list, replace }: { report: ImportReport; list: ListName; replace: boolean }) {
  const other = list === 'deny' ? 'permit' : 'deny';
  const facts: [string, number, ReactNode][] = [
    ['Added', report.added, 'entries that were not there'],
    ['Duplicate', report.duplicate, 'in the list already, or further up in the file'],
    ['Normalised', report.normalised, 'host bits are cleared'],
    ['Covered', report.covered, 'a wider entry holds all of it'],
    ['Contradicted', report.contradicted, `the ${other} list has an address in common with it`],
    ['Wrong', report.error_count, 'cannot be read'],
  ];
  const remarks = (what: 'normalised' | 'covered' | 'contradicted', why: (network: string) => string) =>
    report.remarks.filter((one) => one[what]).map((one) => ({ line: one.line, text: one.text, why: why(one.network) }));
  return (
    <div className="pt-stack">
      <table className="pt-table pt-import__facts" aria-label="What the file has">
        <tbody>
          {facts.map(([name, n, why]) => (
            <tr key={name}><th scope="row">{name}</th><td className="pt-table__hits">{number(n)}</td><td className="pt-muted">{why}</td></tr>
          ))}
        </tbody>
      </table>
      <p>{replace ? 'The list then has' : 'Together the list then has'} <strong>{count(report.total, 'entry', 'entries')}</strong>.</p>
      <div>
        <Rows title={`Wrong lines (${number(report.error_count)})`} items={report.errors.map((one) => ({ line: one.line, text: one.text, why: one.reason }))} />
        <Rows title="Normalised entries" items={remarks('normalised', (network) => `becomes ${network}`)} />
        <Rows title="Covered entries" items={remarks('covered', () => 'a wider entry holds all of it')} />
        <Rows title="Contradicted entries" items={remarks('contradicted', () => `the ${other} list has it or a part of it`)} />
      </div>
    </div>
  );
}

/** A file, what it would do, and into the draft with it. */
export function ImportFile({ list, staged, onStage, onClose }: {
  list: ListName; staged: StagedFile | null; onStage: (file: StagedFile) => void; onClose: () => void;
}) {
  const [file, setFile] = useState<File | null>(null);
  const [text, setText] = useState('');
  const [replace, setReplace] = useState(false);
  const [validOnly, setValidOnly] = useState(false);
  const [report, setReport] = useState<ImportReport | null>(null);
  const [wrong, setWrong] = useState('');
  const [busy, setBusy] = useState(false);
  const body = useRef('');

  useEffect(() => {
    if (!file) return undefined;
    const stop = new AbortController();
    setBusy(true);
    setWrong('');
    const read = async () => {
      const own = await file.text();
      // Two files one after the other are one file.
      const whole = staged && !replace ? `${staged.text}\n${own}` : own;
      body.current = whole;
      setText(own);
      const got = await post<ImportReport>(`/connections/lists/${list}`, whole, {
        query: { dry_run: true, valid_only: true, replace: replace || staged?.replace || undefined, confirm: list === 'permit' ? 'empty_permit_list' : undefined },
        signal: stop.signal,
      });
      setReport(got);
      setBusy(false);
    };
    read().catch((error: unknown) => {
      if (stop.signal.aborted) return;
      setWrong(error instanceof ApiError ? error.message : String(error));
      setReport(null);
      setBusy(false);
    });
    return () => stop.abort();
  }, [file, replace, list, staged]);

  const bad = report !== null && report.error_count > 0 && !validOnly;
  const stage = () => {
    if (!file || !report || bad || text === '') return;
    onStage({
      names: staged && !replace ? [...staged.names, file.name] : [file.name],
      text: body.current, replace: replace || (staged?.replace ?? false), validOnly: validOnly || (staged?.validOnly ?? false), report,
    });
  };
  return (
    <Modal isOpen variant="medium" onClose={onClose} aria-labelledby="import-title">
      <ModalHeader title="Import from file" labelId="import-title"
        description="One address or group a line, such as 192.0.2.1, 192.0.2.0:255.255.255.0 or 2001:db8::/32. Nothing changes before you save." />
      <ModalBody>
        <div className="pt-stack">
          <FileField id="import-file" label="File" accept=".txt,.csv,text/plain" file={file} onFile={(f) => { setReport(null); setFile(f); }} />
          <div role="radiogroup" aria-label="What becomes of the list" className="pt-inline">
            <Radio id="import-append" name="import" label="Append to the list" isChecked={!replace} onChange={() => setReplace(false)} />
            <Radio id="import-replace" name="import" label="Replace the list" isChecked={replace} onChange={() => setReplace(true)} />
          </div>
          {busy && <p className="pt-inline" role="status"><Spinner size="md" aria-label="Reading the file" /> Reading the file and comparing it with the list…</p>}
          {wrong && <Alert isInline variant="danger" title={wrong} isLiveRegion />}
          {report && !busy && <Preview report={report} list={list} replace={replace} />}
          {report && report.error_count > 0 && (
            <Alert isInline variant="warning" title={`${count(report.error_count, 'line', 'lines')} cannot be read`}>
              <Checkbox id="import-valid" label="Leave them out and import the others" isChecked={validOnly} onChange={(_, on) => setValidOnly(on)} />
            </Alert>
          )}
        </div>
      </ModalBody>
      <ModalFooter>
        <Button onClick={stage} isDisabled={!report || bad || busy || report.added + report.duplicate === 0}>
          {report ? `Import ${count(report.added, 'entry', 'entries')}` : 'Import'}
        </Button>
        <Button variant="link" onClick={onClose}>Cancel</Button>
      </ModalFooter>
    </Modal>
  );
}
