import { Alert } from 'pf/Alert';
import { Button } from 'pf/Button';
import { CertificateFacts, type Certificate, type Shown } from './certificate';

interface Look {
  address: string;
  key_type: string | null;
  error: string | null;
  starttls: boolean;
  version?: string;
  cipher?: string;
  certificate: Shown | null;
}

export interface Server {
  configured: { incoming: boolean; certificates: Certificate[] };
  served: Look;
  also_served: Look[];
  matches: boolean;
  alarm: string | null;
}

/** What the settings name, and what a client that connects now is really shown. */
export function Served({ server, onAgain }: { server: Server; onAgain: () => void }) {
  const looks = [server.served, ...server.also_served];
  const installed = server.configured.certificates;
  const certain = looks.filter((one) => one.certificate);
  return (
    <div className="pt-stack">
      {server.alarm && <Alert isInline variant="danger" title={server.alarm} />}
      {installed.length === 0 && (
        <p className="pt-muted">No certificate is installed. Browse for one and its private key, upload both, and save.</p>
      )}
      {installed.map((one) => <CertificateFacts key={one.id} certificate={one} title="Installed" />)}
      {certain.map((one) => one.certificate && (
        <div key={one.certificate.fingerprint}>
          {installed.some((other) => other.fingerprint === one.certificate?.fingerprint)
            ? <Alert isInline isPlain variant="success" title={`Really served at ${one.address}: ${one.version}, ${one.cipher}`} />
            : <CertificateFacts certificate={one.certificate} title={`Really served at ${one.address}`} />}
        </div>
      ))}
      {server.served.error && <Alert isInline variant="warning" title={`A look at ${server.served.address} failed: ${server.served.error}`} />}
      {!server.served.error && !server.served.starttls && (
        <p className="pt-muted">Clients are offered no TLS at {server.served.address}.</p>
      )}
      <div><Button variant="link" isInline onClick={onAgain}>Look again</Button></div>
    </div>
  );
}
