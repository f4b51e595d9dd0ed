/** What can be done with objects, as requests and as YAML. */

import { objectPath, type Request } from './api/client';
import type { Operation } from './parts/operation';

/** What is needed of an object to do something with it. */
export type Target = { namespace: string; name: string; resourceVersion?: string | undefined };

const targetName = ({ namespace, name }: Target) => `${namespace}/${name}`;
const list = (targets: Target[]) => (targets.length === 1 && targets[0] ? targets[0].name : `${targets.length} certificates`);

type Action = 'renew' | 'recreate' | 'revoke';

const WORDS: Record<Action, { verb: string; done: string; about: string }> = {
  renew: {
    verb: 'Renew now',
    done: 'Renewal asked for',
    about: 'A new certificate is asked for now. Until it is there, the outputs keep the one they have.',
  },
  recreate: {
    verb: 'Recreate',
    done: 'Recreation asked for',
    about: 'A new key is made and a certificate is enrolled afresh. Until it is there, the outputs keep what they have.',
  },
  revoke: {
    verb: 'Replace and revoke',
    done: 'Revocation asked for',
    about: 'A new certificate takes its place, then the CA is asked to revoke the one in use. This cannot be taken back.',
  },
};

/** Renew, recreate or revoke; `overBudget` lets the request pass although the daily budget is used up. */
export function act(action: Action, targets: Target[], overBudget = false): Operation {
  const { verb, done, about } = WORDS[action];
  const body = overBudget ? { overBudget } : {};
  return {
    title: `${verb}: ${list(targets)}`,
    verb,
    done,
    about,
    danger: action === 'revoke',
    again: true,
    steps: targets.map((target) => ({
      label: targetName(target),
      request: {
        method: 'POST',
        path: objectPath('certificates', target.namespace, target.name, action),
        body,
        version: target.resourceVersion,
      },
    })),
    yaml: targets.map(({ namespace, name }) => ({
      apiVersion: 'occm.dev/v1alpha1',
      kind: 'Certificate',
      metadata: {
        namespace,
        name,
        annotations: {
          [`occm.dev/${action}`]: 'any-new-value',
          ...(overBudget ? { 'occm.dev/over-budget': 'any-new-value' } : {}),
        },
      },
    })),
  };
}

export function remove(kind: 'certificates' | 'issuers', target: Target, about: string): Operation {
  const request: Request = {
    method: 'DELETE',
    path: objectPath(kind, target.namespace, target.name),
    version: target.resourceVersion,
  };
  const word = kind === 'certificates' ? 'Certificate' : 'Issuer';
  return {
    title: `Delete ${word} ${target.name}`,
    verb: 'Delete',
    done: `${word} ${target.name} is deleted`,
    about,
    danger: true,
    typed: target.name,
    again: true,
    steps: [{ label: targetName(target), request }],
    yaml: [{ apiVersion: 'occm.dev/v1alpha1', kind: word, metadata: { namespace: target.namespace, name: target.name } }],
  };
}
