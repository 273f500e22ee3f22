import type { ReactNode } from 'react';
import { Alert } from 'pf/Alert';
import { Button } from 'pf/Button';
import { Bullseye } from 'pf-layouts/Bullseye';
import { PageSection } from 'pf/Page';
import { Spinner } from 'pf/Spinner';
import { Title } from 'pf/Title';
import type { Query } from './query';
import { ago, exactTime, time } from './format';

/** The heading of a page, with what can be done on it at the right. */
export function PageHead({ title, children, actions }: {
  title: string; children?: ReactNode; actions?: ReactNode;
}) {
  return (
    <PageSection hasBodyWrapper={false} className="pt-page-head">
      <div className="pt-page-head__row">
        <Title headingLevel="h1">{title}</Title>
        {actions}
      </div>
      {children && <p className="pt-muted">{children}</p>}
    </PageSection>
  );
}

export function Loading({ what }: { what: string }) {
  return <Bullseye className="pt-loading"><Spinner aria-label={`Loading ${what}`} /></Bullseye>;
}

/** What a query has: its data, or that they come, or why they do not. */
export function Loaded<T>({ query, what, children }: {
  query: Query<T>; what: string; children: (data: T) => ReactNode;
}) {
  return (
    <>
      {query.error && (
        <Alert isInline variant="danger" title={`Cannot load ${what}`}
          actionLinks={<Button variant="link" isInline onClick={query.reload}>Try again</Button>}>
          {query.error.message}
        </Alert>
      )}
      {query.data !== undefined ? children(query.data)
        : query.loading && <Loading what={what} />}
    </>
  );
}

/** A time as people say it, the exact one on hover. */
export function When({ at, relative = false }: { at: string; relative?: boolean }) {
  return <time dateTime={at} title={exactTime(at)}>{relative ? ago(at) : time(at)}</time>;
}
