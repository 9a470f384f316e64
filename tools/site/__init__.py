"""The site of the documents: `make docs-site` makes `.build/site/html` of all pages of the repository, by Zensical.

The way of it: `source` lays the pages out in a folder, in the places that they have in the repository, so that their
links stay what they are; `mkdocs.yml` says in which order they are read; `diagrams` brings what draws them; `llms`
lists the pages for programs that read; `links` looks whether each link leads somewhere, and whether a page would ask
another host. Only what draws diagrams is fetched, once; a reader's browser asks the site alone.
"""
