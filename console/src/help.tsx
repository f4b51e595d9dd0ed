/** Keys and words. */

import { DescriptionList, DescriptionListDescription, DescriptionListGroup, DescriptionListTerm, Modal, ModalBody, ModalHeader } from '@patternfly/react-core';

const KEYS: [string, string][] = [
  ['/', 'go to the search field'],
  ['j, k', 'next row, row before'],
  ['Enter', 'open the row'],
  ['x', 'select the row'],
  ['g o', 'overview'],
  ['g c', 'certificates'],
  ['g i', 'issuers'],
  ['g s', 'secrets'],
  ['g e', 'expiry calendar'],
  ['g a', 'activity'],
  ['?', 'this help'],
];

const WORDS: [string, string][] = [
  ['Readiness', 'whether every output carries a certificate that is in use'],
  ['Expiry', 'how many days are left: at most 7, 30, 90, 180, or more'],
  ['Renew', 'a new certificate before the end, with a new key unless the wish says otherwise'],
  ['Recreate', 'a fresh enrolment with a new key from the same wish'],
  ['Repair', 'the last good bytes are put back into an output, without asking the CA'],
  ['Drift', 'an output that differs from what occm wrote'],
];

export function Help({ onClose }: { onClose: () => void }) {
  return (
    <Modal isOpen onClose={onClose} variant="medium" aria-labelledby="occm-help">
      <ModalHeader title="Help" labelId="occm-help" />
      <ModalBody className="occm-stack">
        <Terms title="Keys" rows={KEYS} keys />
        <Terms title="Words" rows={WORDS} />
        <p>
          Everything here is a view of the REST API; its description is <a href="/api/v1/openapi.json">openapi.json</a>.
        </p>
      </ModalBody>
    </Modal>
  );
}

function Terms({ title, rows, keys }: { title: string; rows: [string, string][]; keys?: boolean }) {
  return (
    <section aria-label={title}>
      <h2 className="occm-h2">{title}</h2>
      <DescriptionList isHorizontal isCompact columnModifier={keys ? { default: '2Col' } : {}} horizontalTermWidthModifier={{ default: keys ? '5ch' : '10ch' }}>
        {rows.map(([term, text]) => (
          <DescriptionListGroup key={term}>
            <DescriptionListTerm>{keys ? <kbd>{term}</kbd> : term}</DescriptionListTerm>
            <DescriptionListDescription>{text}</DescriptionListDescription>
          </DescriptionListGroup>
        ))}
      </DescriptionList>
    </section>
  );
}
