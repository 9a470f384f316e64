// The one place that names the vendored library, so that a new version touches one line.
import { html, render, Component, createContext, useState, useEffect, useLayoutEffect, useRef, useMemo, useCallback, useContext } from "../vendor/htm-preact.module.js";

export { html, render, Component, createContext, useState, useEffect, useLayoutEffect, useRef, useMemo, useCallback, useContext };
