// What we use of htm/preact/standalone, whose package has types for its parts alone. Not served.
export type VNode = { type: unknown; props: unknown; key: unknown };
export type Child = VNode | string | number | boolean | null | undefined | Child[];
export function html(strings: TemplateStringsArray, ...values: unknown[]): VNode;
export function render(tree: Child, parent: Element): void;
export function h(type: unknown, props?: unknown, ...children: Child[]): VNode;
export class Component<P = any, S = any> {
  constructor(props?: P);
  props: P;
  state: S;
  setState(state: Partial<S>): void;
}
export function createContext<T>(value: T): { Provider: unknown };
export function useState<T>(first: T | (() => T)): [T, (next: T | ((last: T) => T)) => void];
export function useReducer<S, A>(step: (state: S, action: A) => S, first: S): [S, (action: A) => void];
export function useEffect(effect: () => void | (() => void), inputs?: unknown[]): void;
export function useLayoutEffect(effect: () => void | (() => void), inputs?: unknown[]): void;
export function useRef<T>(first: T): { current: T };
export function useMemo<T>(make: () => T, inputs?: unknown[]): T;
export function useCallback<T>(callback: T, inputs: unknown[]): T;
export function useContext<T>(context: { Provider: unknown }): T;
