"""The contract in writing, generated from the models of ``service.events``: for pages, for checks, and for programs.

catalogue   which messages each stream sends, and every model as JSON Schema
examples    one real message of each type, from the real translators
routes      which address answers what
openapi     routes + catalogue + examples → docs/openapi.json, /openapi.json
asyncapi    the WebSocket's messages → docs/asyncapi.json, /asyncapi.json
typescript  the models → client/src/events.gen.ts
reference   the messages, for people → docs/events.md
page        the OpenAPI document, for people → /docs
serving     the documents at their addresses
files       which of them are kept in the repository

``python -m service.schema`` (`make schema`) writes the files.
"""
