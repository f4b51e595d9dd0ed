/** Text for machines: YAML, PEM, curl. Shown, copied, downloaded. */

import { Button, ClipboardCopyButton, CodeBlock, CodeBlockAction, CodeBlockCode } from '@patternfly/react-core';
import DownloadIcon from '@patternfly/react-icons/dist/esm/icons/download-icon';
import { useId, useState } from 'react';
import { stringify } from 'yaml';

export function Code({ text, file, label }: { text: string; file?: string; label: string }) {
  const id = useId();
  const [copied, setCopied] = useState(false);
  const actions = (
    <>
      <CodeBlockAction>
        <ClipboardCopyButton
          id={`${id}-copy`}
          textId={id}
          aria-label={`Copy ${label}`}
          variant="plain"
          exitDelay={copied ? 1500 : 600}
          onClick={() => {
            void navigator.clipboard?.writeText(text).then(() => setCopied(true));
          }}
          onTooltipHidden={() => setCopied(false)}
        >
          {copied ? 'Copied' : 'Copy'}
        </ClipboardCopyButton>
      </CodeBlockAction>
      {file && (
        <CodeBlockAction>
          <Button variant="plain" aria-label={`Download ${label}`} icon={<DownloadIcon />} onClick={() => download(file, text)} />
        </CodeBlockAction>
      )}
    </>
  );
  return (
    <CodeBlock actions={actions} className="occm-code">
      <CodeBlockCode id={id} tabIndex={0} aria-label={label} role="region">
        {text}
      </CodeBlockCode>
    </CodeBlock>
  );
}

export function download(file: string, text: string, type = 'text/plain') {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement('a');
  link.href = url;
  link.download = file;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export function toYaml(value: unknown): string {
  return stringify(value, { lineWidth: 120, aliasDuplicateObjects: false });
}
