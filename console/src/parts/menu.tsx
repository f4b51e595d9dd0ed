/** A menu of actions behind one button. */

import { Dropdown, DropdownItem, DropdownList, MenuToggle } from '@patternfly/react-core';
import EllipsisVIcon from '@patternfly/react-icons/dist/esm/icons/ellipsis-v-icon';
import { useState } from 'react';

export type MenuItem = { title: string; onClick: () => void; danger?: boolean; disabled?: boolean; why?: string };

export function ActionMenu({ label, items, text }: { label: string; items: MenuItem[]; text?: string }) {
  const [open, setOpen] = useState(false);
  return (
    <Dropdown
      isOpen={open}
      onOpenChange={setOpen}
      onSelect={() => setOpen(false)}
      popperProps={{ position: 'right' }}
      toggle={(ref) => (
        <MenuToggle ref={ref} variant={text ? 'default' : 'plain'} isExpanded={open} onClick={() => setOpen(!open)} aria-label={label}>
          {text ?? <EllipsisVIcon />}
        </MenuToggle>
      )}
    >
      <DropdownList>
        {items.map(({ title, onClick, danger, disabled, why }) => (
          <DropdownItem key={title} onClick={onClick} isDanger={danger ?? false} isAriaDisabled={disabled ?? false} {...(disabled && why ? { description: why } : {})}>
            {title}
          </DropdownItem>
        ))}
      </DropdownList>
    </Dropdown>
  );
}
