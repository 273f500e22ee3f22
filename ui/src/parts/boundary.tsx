import { Component, type ReactNode } from 'react';
import { Button } from 'pf/Button';
import { EmptyState, EmptyStateActions, EmptyStateBody, EmptyStateFooter } from 'pf/EmptyState';

/** What fails in a page leaves the rest of the console usable. */
export class Boundary extends Component<{ children: ReactNode }, { error: Error | null }> {
  override state = { error: null as Error | null };

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  override render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    return (
      <EmptyState titleText="This page could not be shown" headingLevel="h1" status="danger">
        <EmptyStateBody>{error.message}</EmptyStateBody>
        <EmptyStateFooter>
          <EmptyStateActions>
            <Button onClick={() => window.location.reload()}>Load it again</Button>
          </EmptyStateActions>
        </EmptyStateFooter>
      </EmptyState>
    );
  }
}
