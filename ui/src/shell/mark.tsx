/** The mark of Postern; decoration beside its name. */
export function Mark() {
  return (
    <svg className="pt-mark" viewBox="0 0 32 32" aria-hidden="true">
      <path d="M4 30V14a12 12 0 0 1 24 0v16z" fill="currentColor" />
      <path d="M9 30V15a7 7 0 0 1 14 0v15z" fill="var(--pt-mark-door)" />
      <path d="M11 18h10v7H11z" fill="currentColor" />
      <path d="M11 18l5 4 5-4" fill="none" stroke="var(--pt-mark-door)" strokeWidth="1.5" />
    </svg>
  );
}
