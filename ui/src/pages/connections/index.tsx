import { PageHead } from '../../parts/states';

export default function Connections() {
  return <PageHead title="Connections">Who may send mail to this gateway, where, and over which encryption.</PageHead>;
}
