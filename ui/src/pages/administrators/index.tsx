import { PageHead } from '../../parts/states';
import { useIsAdministrator } from '../../parts/session';
import { Accounts } from './accounts';
import { Own } from './own';
import { Tokens } from './tokens';

export default function Administrators() {
  const may = useIsAdministrator();
  return (
    <>
      <PageHead title="Administrators and tokens">
        {may ? 'Who may log in to this console and what they may do, and the tokens by which programs do the same.'
          : 'Your account, and the tokens by which programs do what you may do.'}
      </PageHead>
      <Own />
      {may && <Accounts />}
      <Tokens />
    </>
  );
}
