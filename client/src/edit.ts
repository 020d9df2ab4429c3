// A map that is copied once, when it is first written to: a batch of events costs one copy.

export class Edited<K, V> {
  #map: ReadonlyMap<K, V>
  #copy: Map<K, V> | null = null

  constructor(map: ReadonlyMap<K, V>) {
    this.#map = map
  }

  get map(): ReadonlyMap<K, V> {
    return this.#copy ?? this.#map
  }

  set(key: K, value: V): void {
    this.#copy = (this.#copy ?? new Map(this.#map)).set(key, value)
  }

  delete(key: K): void {
    if (this.map.has(key)) (this.#copy ??= new Map(this.#map)).delete(key)
  }

  replace(map: ReadonlyMap<K, V>): void {
    this.#map = map
    this.#copy = null
  }
}
