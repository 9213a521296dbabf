export interface Euro { kind: "euro"; cents: number }
export interface Dollar { kind: "dollar"; cents: number }
export type Currency = Euro | Dollar;
export interface Amount { value: number; currency: Currency; doubled(): Amount }
export interface Transaction { sender: string; receiver: string; amount?: Amount; parent?: Transaction }
export interface Options { depth: number; label: string }

export class Box<T> {
  content: T;
  constructor(content: T) { this.content = content; }
  get(): T { return this.content; }
  put(content: T): void { this.content = content; }
}

export class Account {
  limit: number = 0;
  history: Transaction[] = [];
  constructor(public owner: string, public amount: Amount) {}
  pay(amount: Amount, to: string, urgent: boolean = false): Transaction {
    return { sender: this.owner, receiver: to, amount };
  }
}

export declare function createAmount(value: number, currency: Currency): Amount;
export declare function find(name: string, fallback?: Account | null): Account;
export declare function each<T>(items: T[], act: (item: T) => string): string[];
