// The one place that names the vendored library, so that a new version touches one line.
export {
  html, render, h, Component, createContext, useState, useEffect, useLayoutEffect, useRef, useMemo, useCallback,
  useContext, useReducer,
} from "../vendor/htm-preact.module.js";
