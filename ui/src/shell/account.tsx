import { useState } from 'react';
import { Divider } from 'pf/Divider';
import { Dropdown, DropdownGroup, DropdownItem, DropdownList } from 'pf/Dropdown';
import { MenuToggle } from 'pf/MenuToggle';
import { post } from '../api/client';
import { useMe } from '../parts/session';
import { chooseTheme, chosenTheme, type Theme } from '../parts/theme';
import { tellError } from '../parts/toasts';

const themes: [Theme, string][] = [['auto', 'As the system'], ['light', 'Light'], ['dark', 'Dark']];

/** Who one is, how it looks, and the way out. */
export function Account({ onLeave }: { onLeave: () => void }) {
  const me = useMe();
  const [open, setOpen] = useState(false);
  const [theme, setTheme] = useState(chosenTheme);

  const leave = async (everywhere: boolean) => {
    try {
      await post('/logout', undefined, { query: { everywhere: everywhere || undefined } });
      onLeave();
    } catch (error) {
      tellError('Could not log out', error);
    }
  };
  const select = (value: string) => {
    if (value === 'leave' || value === 'everywhere') void leave(value === 'everywhere');
    else {
      chooseTheme(value as Theme);
      setTheme(value as Theme);
    }
    setOpen(false);
  };
  return (
    <Dropdown isOpen={open} onOpenChange={setOpen} onSelect={(_, value) => select(String(value))} popperProps={{ position: 'right' }}
      toggle={(ref) => (
        <MenuToggle ref={ref} variant="plainText" isExpanded={open} onClick={() => setOpen(!open)} aria-label={`Account of ${me.name}`}>
          <span className="pt-account">{me.name}</span>
        </MenuToggle>
      )}>
      <DropdownGroup label={`${me.name}, ${me.role}`}>
        <DropdownList>
          <DropdownItem value="leave">Log out</DropdownItem>
          <DropdownItem value="everywhere">Log out everywhere</DropdownItem>
        </DropdownList>
      </DropdownGroup>
      <Divider />
      <DropdownGroup label="Appearance">
        <DropdownList>
          {themes.map(([value, title]) => (
            <DropdownItem key={value} value={value} isSelected={theme === value}>{title}</DropdownItem>
          ))}
        </DropdownList>
      </DropdownGroup>
    </Dropdown>
  );
}
