import '@patternfly/react-core/dist/styles/base.css';
import './style.css';
import './parts/records.css';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './app';
import { followTheme } from './parts/theme';

followTheme();
const root = document.getElementById('root');
if (root) createRoot(root).render(<StrictMode><App /></StrictMode>);
