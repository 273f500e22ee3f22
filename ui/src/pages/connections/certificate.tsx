import { Alert } from 'pf/Alert';
import { Label } from 'pf/Label';
import { date, number } from '../../parts/format';

export interface Finding {
  severity: 'error' | 'warning' | 'info';
  code: string;
  detail: string;
  remedy: string | null;
}

export interface Shown {
  subject: string;
  names: string[];
  issuer: string;
  not_before: string;
  not_after: string;
  key_type: string;
  fingerprint: string;
  self_signed: boolean;
}

export interface Certificate extends Shown {
  id: string;
  findings: Finding[];
}

const DAY_MS = 86400000;
const SOON_DAYS = 30;

export function Expiry({ at }: { at: string }) {
  const days = Math.floor((new Date(at).getTime() - Date.now()) / DAY_MS);
  return (
    <>
      {date(at)}{' '}
      <Label isCompact color={days < 0 ? 'red' : days < SOON_DAYS ? 'orange' : 'green'}>
        {days < 0 ? 'expired' : days === 0 ? 'today' : `in ${number(days)} ${days === 1 ? 'day' : 'days'}`}
      </Label>
    </>
  );
}

/** Who it is for, from whom, until when, and what clients will mind. */
export function CertificateFacts({ certificate, title }: { certificate: Shown & { findings?: Finding[] }; title: string }) {
  return (
    <div className="pt-certificate">
      <h3>{title}</h3>
      <dl className="pt-facts">
        <dt>For</dt><dd>{[certificate.subject, ...certificate.names].join(', ')}</dd>
        <dt>Issued by</dt><dd>{certificate.self_signed ? 'itself' : certificate.issuer}</dd>
        <dt>Expires</dt><dd><Expiry at={certificate.not_after} /></dd>
        <dt>Key</dt><dd>{certificate.key_type}</dd>
        <dt>SHA-256</dt><dd className="pt-mono pt-fingerprint">{certificate.fingerprint}</dd>
      </dl>
      {certificate.findings?.map((one) => (
        <Alert key={one.code} isInline isPlain variant={one.severity === 'error' ? 'danger' : one.severity} title={one.detail}>{one.remedy}</Alert>
      ))}
    </div>
  );
}
